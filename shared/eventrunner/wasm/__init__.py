"""WebAssembly modules and components: what they are made of."""
