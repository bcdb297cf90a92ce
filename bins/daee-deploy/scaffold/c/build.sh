#!/bin/sh
# Builds agent.wasm. Another clang than Debian's: CLANG=/opt/wasi-sdk/bin/clang ./build.sh
set -eu
cd "$(dirname "$0")"
"${CLANG:-clang-19}" --target=wasm32-wasi -mexec-model=reactor \
    -std=c17 -Wall -Wextra -Wno-unused-function \
    -Oz -flto -Wl,--strip-all agent.c -o agent.wasm
