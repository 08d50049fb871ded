#!/bin/sh
# Writes build/consumer.wasm.
set -eu
cd "$(dirname "$0")"
mkdir -p build
if python3 -m ziglang version >/dev/null 2>&1; then
  set -- python3 -m ziglang cc --target=wasm32-freestanding
elif command -v zig >/dev/null 2>&1; then
  set -- zig cc --target=wasm32-freestanding
else
  set -- clang --target=wasm32 -mbulk-memory
fi
"$@" -std=c17 -O2 -Wall -Wextra -nostdlib -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=65536 -o build/core.wasm src/*.c
wasm-tools component embed wit --world guest build/core.wasm -o build/embedded.wasm
wasm-tools component new build/embedded.wasm -o build/consumer.wasm
