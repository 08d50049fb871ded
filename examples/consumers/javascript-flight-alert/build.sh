#!/bin/sh
# Writes build/consumer.wasm.
set -eu
cd "$(dirname "$0")"
[ -d node_modules/componentize-qjs ] || npm install --no-package-lock --prefer-offline --no-audit --no-fund
mkdir -p build
node build.mjs
