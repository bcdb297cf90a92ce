//! Deploy and manage agents from a terminal.

fn main() {}
