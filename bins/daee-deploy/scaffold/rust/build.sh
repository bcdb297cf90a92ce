#!/bin/sh
# Builds agent.wasm.
set -eu
cd "$(dirname "$0")"
cargo build --release --locked --target wasm32-wasip1 --target-dir target
cp target/wasm32-wasip1/release/agent.wasm agent.wasm
