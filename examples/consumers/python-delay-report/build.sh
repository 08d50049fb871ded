#!/bin/sh
# Writes build/consumer.wasm.
set -eu
cd "$(dirname "$0")"
rm -rf build
mkdir -p build packages
# Nothing of WASI is given to a consumer but logging. `--stub-wasi` takes away all of `wasi:`, so logging goes by another name of
# the same length until that is done.
cp -R wit build/wit
for file in build/wit/world.wit build/wit/deps/wasi-logging/logging.wit; do
  sed 's/wasi:logging/host:logging/' "$file" > build/renamed.wit
  mv build/renamed.wit "$file"
done
componentize-py --quiet -d build/wit -w guest componentize --stub-wasi -p src -p packages app -o build/consumer.wasm
python3 - build/consumer.wasm <<'END_OF_PYTHON'
import pathlib, sys

file = pathlib.Path(sys.argv[1])
file.write_bytes(file.read_bytes().replace(b"host:logging/logging@", b"wasi:logging/logging@"))
END_OF_PYTHON
