#!/bin/sh
# The linker where Rust has none of its own, as in Debian: that of zig, or of LLVM.
[ "$1" != -flavor ] || shift 2
if python3 -m ziglang version >/dev/null 2>&1; then exec python3 -m ziglang wasm-ld "$@"; fi
exec wasm-ld "$@"
