#!/bin/sh
# Builds agent.wasm: QuickJS, and the modules beside this script. QuickJS is compiled once, into build/, or
# $BUILD where agents share it. Another clang than Debian's, of 19 or later: CLANG=/opt/wasi-sdk/bin/clang ./build.sh
set -eu
cd "$(dirname "$0")"

# QuickJS-NG 0.18.0 comes inside of this crate.
crate=libquickjs-ng-sys version=0.14.0
sha256=9c81e864c33a1d1543f2f651d7622de0e8fb9b8e0c50b808eee606c056dd02e2

compile() {
    "${CLANG:-clang-19}" --target=wasm32-wasi -std=gnu23 -Os -DNDEBUG "$@"
}

mkdir -p build "${BUILD:=build}"
quickjs=$BUILD/$crate-$version/embed/quickjs
if [ ! -d "$BUILD/$crate-$version" ]; then
    # Cargo fetches it to look into it, and keeps it.
    cargo info --quiet "$crate@$version" >/dev/null
    archive=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/cache" -name "$crate-$version.crate" | head -n 1)
    echo "$sha256  $archive" | sha256sum --check --quiet
    mkdir -p "$BUILD/new"
    tar -xzf "$archive" -C "$BUILD/new"
    mv "$BUILD/new/$crate-$version" "$BUILD"
fi
for part in dtoa libregexp libunicode quickjs; do
    [ -e "$quickjs/$part.o" ] || compile -w -D_GNU_SOURCE -c "$quickjs/$part.c" -o "$quickjs/$part.o"
done

# The modules, with the names that they are imported by.
{
    echo 'static const struct file FILES[] = {'
    for file in daee/daee.js *.js; do
        case $file in daee/daee.js) name=daee ;; *) name=$file ;; esac
        printf '{"%s", (const unsigned char[]){\n#embed "%s" if_empty(0) suffix(, 0)\n}, ' "$name" "$PWD/$file"
        printf '%s},\n' "$(wc -c <"$file" | tr -d ' ')"
    done
    echo '};'
} >build/files.h

case $(grep '^run:' agent.yaml || true) in
*resident*) style='-mexec-model=command -DRESIDENT' ;;
*) style=-mexec-model=reactor ;;
esac
# shellcheck disable=SC2086
compile -Wall -Wextra -Wno-unused-function $style -I "$quickjs" -I build \
    -Wl,--strip-all -Wl,--stack-first -Wl,-z,stack-size=1048576 \
    daee/daee.c "$quickjs"/*.o -o agent.wasm
