#!/bin/sh
# Builds agent.wasm: MicroPython, and the modules beside this script. MicroPython is compiled once, into build/, or
# $BUILD where agents share it. Other tools than those of the README: CLANG=... WASM_OPT=... ./build.sh
set -eu
cd "$(dirname "$0")"
CLANG=${CLANG:-clang-19}

# MicroPython 1.9.4 comes inside of this crate.
crate=drone-micropython-raw version=0.1.1
sha256=f9576cf3489ed19ef1fb3201f098c0f97ec5edda06db413010b63e26345ff63c
binaryen=132.0.0

mkdir -p "${BUILD:=build}"
BUILD=$(cd "$BUILD" && pwd)
if [ ! -d "$BUILD/$crate-$version" ]; then
    # Cargo fetches it to look into it, and keeps it.
    cargo info --quiet "$crate@$version" >/dev/null
    archive=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/cache" -name "$crate-$version.crate" | head -n 1)
    echo "$sha256  $archive" | sha256sum --check --quiet
    mkdir -p "$BUILD/new"
    tar -xzf "$archive" -C "$BUILD/new"
    mv "$BUILD/new/$crate-$version" "$BUILD"
fi
if [ -z "${WASM_OPT:-}" ]; then
    WASM_OPT=$BUILD/node_modules/.bin/wasm-opt
    [ -e "$WASM_OPT" ] || npm install --silent --no-save --prefix "$BUILD" "binaryen@$binaryen"
fi

case $(grep '^run:' agent.yaml || true) in
*resident*) model=command defines=-DRESIDENT ;;
*) model=reactor defines= ;;
esac
made_of="$(cat build.sh daee/Makefile daee/*.[ch] | sha256sum) $model"
if [ "$(cat "$BUILD/made-of" 2>/dev/null)" != "$made_of" ]; then
    rm -rf "$BUILD/made-of" "$BUILD/o"
    make --silent -C daee CLANG="$CLANG" DEFINES="$defines" MICROPYTHON="$BUILD/$crate-$version/micropython" BUILD="$BUILD/o"
    # From 1 MiB to 1.25 MiB the memory is for the modules.
    (cd "$BUILD/o" && "$CLANG" --target=wasm32-wasi -mexec-model=$model -Wl,--stack-first \
        -Wl,-z,stack-size=1048576 -Wl,--global-base=1310720 -o ../linked.wasm $(find . -name '*.o' | sort))
    # Pointers are put where the garbage collector finds them, and functions learn to return for a longjmp.
    "$WASM_OPT" "$BUILD/linked.wasm" --spill-pointers --asyncify --pass-arg=asyncify-imports@env.none \
        -Oz --strip-debug -o "$BUILD/micropython.wasm"
    echo "$made_of" >"$BUILD/made-of"
fi
python3 daee/embed.py "$BUILD/micropython.wasm" agent.wasm daee/daee.py ./*.py
