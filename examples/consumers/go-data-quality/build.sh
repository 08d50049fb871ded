#!/bin/sh
# Writes build/consumer.wasm.
set -eu
cd "$(dirname "$0")"
mkdir -p build
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o build/core.wasm .
wasm-tools component embed wasi --world adapter wasi/wasi.wat -o build/wasi.wasm
wasm-tools component embed wit --world guest build/core.wasm -o build/embedded.wasm
wasm-tools component new build/embedded.wasm --adapt wasi_snapshot_preview1=build/wasi.wasm -o build/consumer.wasm
