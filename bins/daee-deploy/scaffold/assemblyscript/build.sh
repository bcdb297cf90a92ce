#!/bin/sh
# Builds agent.wasm, with the compiler that package-lock.json names.
set -eu
cd "$(dirname "$0")"
[ -d node_modules ] || npm ci --no-audit --no-fund
npm run --silent build
