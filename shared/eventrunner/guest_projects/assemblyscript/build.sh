#!/bin/sh
# Writes build/consumer.wasm.
set -eu
cd "$(dirname "$0")"
[ -d node_modules/assemblyscript ] || npm install --no-package-lock --prefer-offline --no-audit --no-fund
mkdir -p build
node node_modules/assemblyscript/bin/asc.js --config asconfig.json
