# Which Rust to build with: one that has the standard library for $target, or one that has its source and can build that
# (Debian's). Sets CARGO, RUSTC and build_std; fails if there is none.
target=wasm32-unknown-unknown

for bin in "" /usr/bin/; do
  CARGO=${bin}cargo RUSTC=${bin}rustc build_std=
  command -v "$CARGO" >/dev/null && command -v "$RUSTC" >/dev/null || continue
  [ ! -d "$("$RUSTC" --print target-libdir --target "$target")" ] || return 0
done
for bin in "" /usr/bin/; do
  CARGO=${bin}cargo RUSTC=${bin}rustc build_std=yes
  command -v "$CARGO" >/dev/null && command -v "$RUSTC" >/dev/null || continue
  [ ! -d "$("$RUSTC" --print sysroot)/lib/rustlib/src/rust/library/std" ] || return 0
done
return 1
