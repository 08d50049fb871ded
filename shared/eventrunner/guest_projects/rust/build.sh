#!/bin/sh
# Writes build/consumer.wasm.
set -eu
cd "$(dirname "$0")"
mkdir -p build
. ./rust.sh
export RUSTC CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/build/target}"
set -- build --quiet --release --target "$target"
if [ "$build_std" ]; then
  export RUSTC_BOOTSTRAP=1 # Building the standard library is not stable yet.
  set -- "$@" -Z build-std=std,panic_abort -Z build-std-features=
fi
if ! command -v rust-lld >/dev/null && ! [ -x "$("$RUSTC" --print target-libdir)/../bin/rust-lld" ]; then
  chmod +x wasm-ld.sh # Which a copy may have lost.
  # By its name: Cargo builds everything again, the standard library too, for a linker at another path.
  export PATH="$PWD:$PATH" CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld.sh
fi
"$CARGO" "$@"
wasm-tools component new "$CARGO_TARGET_DIR/$target/release/consumer.wasm" -o build/consumer.wasm
