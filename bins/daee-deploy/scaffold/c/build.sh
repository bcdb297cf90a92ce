#!/bin/sh
# Builds agent.wasm. Another clang than Debian's: CLANG=/opt/wasi-sdk/bin/clang ./build.sh
set -eu
cd "$(dirname "$0")"
# What `DAEE_REACTOR` in agent.c is for; DAEE_RESIDENT and DAEE_PER_EVENT need `run` in agent.yaml.
case $(grep '^run:' agent.yaml || true) in
'') model=reactor ;;
*) model=command ;;
esac
"${CLANG:-clang-19}" --target=wasm32-wasi -mexec-model=$model \
    -std=c17 -Wall -Wextra -Wno-unused-function \
    -Oz -flto -Wl,--strip-all agent.c -o agent.wasm
