#!/bin/sh
# Builds agent.wasm, with Go; with TinyGo: GO=tinygo ./build.sh
set -eu
cd "$(dirname "$0")"
case ${GO:-go} in
*tinygo) "$GO" build -target=wasip1 -buildmode=c-shared -opt=z -no-debug -o agent.wasm . ;;
*)
    GOOS=wasip1 GOARCH=wasm "${GO:-go}" build -buildmode=c-shared -trimpath -ldflags '-s -w' \
        -o agent.wasm .
    ;;
esac
