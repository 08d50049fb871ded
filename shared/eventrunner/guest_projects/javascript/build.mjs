// Puts QuickJS and src/consumer.js, with what it imports, into build/consumer.wasm.
//
// Nothing of WASI is given to a consumer but logging. `stubWasi` takes away all of `wasi:`, so logging goes by another name of the
// same length until that is done.

import { cp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { componentize } from "componentize-qjs";

const LOGGING = "wasi:logging/logging@0.1.0-draft";
const MEANWHILE = LOGGING.replace("wasi", "host");

const rename = (text) => text.replaceAll(LOGGING, MEANWHILE).replace("package wasi:logging", "package host:logging");

for (const folder of ["src", "wit"]) {
  await rm(`build/${folder}`, { recursive: true, force: true });
  await cp(folder, `build/${folder}`, { recursive: true });
  for (const entry of await readdir(`build/${folder}`, { recursive: true, withFileTypes: true })) {
    const file = `${entry.parentPath ?? entry.path}/${entry.name}`;
    if (/\.(wit|m?js)$/.test(file)) await writeFile(file, rename(await readFile(file, "utf8")));
  }
}

const { component } = await componentize({
  witPath: "build/wit",
  world: "guest",
  jsPath: "build/src/consumer.js",
  jsSource: await readFile("build/src/consumer.js", "utf8"),
  moduleRoot: ".",
  stubWasi: true,
  sync: true, // WebAssembly hosts of today do not all know the asynchronous calls of components.
});
const bytes = Buffer.from(component.toString("latin1").replaceAll(MEANWHILE, LOGGING), "latin1");
await writeFile("build/consumer.wasm", bytes);
