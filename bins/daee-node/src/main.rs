//! Run a node of the network, or a whole network for development.

fn main() {}
