#!/bin/sh
# Builds agent.wasm, with Go; with TinyGo: GO=tinygo ./build.sh
set -eu
cd "$(dirname "$0")"
case $(grep '^run:' agent.yaml || true) in
*resident*) mode=default ;;
*) mode=c-shared ;;
esac
case ${GO:-go} in
*tinygo) "$GO" build -target=wasip1 -buildmode=$mode -opt=z -no-debug -o agent.wasm . ;;
*) GOOS=wasip1 GOARCH=wasm "${GO:-go}" build -buildmode=$mode -trimpath -ldflags '-s -w' -o agent.wasm . ;;
esac
