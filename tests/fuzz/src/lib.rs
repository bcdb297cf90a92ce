#![doc = include_str!("../README.md")]

mod blocks;
mod car;
mod cells;
mod door;
/// The compiler beside an interpreter.
pub mod engine;
mod lived;
mod manifest;
mod permission;
mod policy;
mod recording;
mod signature;
mod unixfs;
mod wasi;
mod wasm;

/// A reader, and what must hold for any input to it.
pub struct Target {
    /// As its folder in `regressions` and its program in `libfuzzer` are called.
    pub name: &'static str,
    /// Whether the input was accepted.
    ///
    /// # Panics
    /// When something does not hold.
    pub run: fn(&[u8]) -> bool,
    /// Inputs to start from; at least one is accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "blocks", run: blocks::run, seeds: blocks::seeds },
    Target { name: "car", run: car::run, seeds: car::seeds },
    Target { name: "cells", run: cells::run, seeds: cells::seeds },
    Target { name: "door", run: door::run, seeds: door::seeds },
    Target { name: "engine", run: engine::run, seeds: engine::seeds },
    Target { name: "manifest", run: manifest::run, seeds: manifest::seeds },
    Target { name: "permission", run: permission::run, seeds: permission::seeds },
    Target { name: "policy", run: policy::run, seeds: policy::seeds },
    Target { name: "recording", run: recording::run, seeds: recording::seeds },
    Target { name: "signature", run: signature::run, seeds: signature::seeds },
    Target { name: "unixfs", run: unixfs::run, seeds: unixfs::seeds },
    Target { name: "wasi", run: wasi::run, seeds: wasi::seeds },
    Target { name: "wasm", run: wasm::run, seeds: wasm::seeds },
];

/// Runs the target of this name.
///
/// # Panics
/// When something does not hold, and where there is no such target.
pub fn run(name: &str, input: &[u8]) -> bool {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("there is no target {name}")).run)(input)
}

/// The input in pieces of a size that depends on it, so that a fuzzer can choose it.
fn pieces(input: &[u8]) -> std::slice::Chunks<'_, u8> {
    input.chunks(1 + input.len() % 61)
}
