#!/bin/sh
# Builds the programs of the images: linked statically, and byte for byte the same wherever the sources lie. With the word
# `dependencies`, only what they depend on, from the manifests alone.
#
# glibc, not musl: rustup may be out of reach for another target, and the names of issuers resolve all the same. Since
# glibc 2.34, /etc/hosts and DNS are read without a shared library.
set -eu
cd "$(dirname "$0")/.."

packages='--package idissuer --package idissuer-simulator'
if [ "${1:-}" = dependencies ]; then
  for place in src tests/simulator/src tests/testbed/src; do
    mkdir "$place"
    touch "$place/lib.rs"
    echo 'fn main() {}' > "$place/main.rs"
  done
fi

cargo fetch --locked
# Without the second, random numbers would come from /dev/urandom: the call is looked for in a shared library.
RUSTFLAGS="-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\""
RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$PWD=/source"
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
  RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$crates=/crates"
done
export RUSTFLAGS
# With a target, the flags are not for what runs during the build.
target=$(rustc -vV | sed -n 's/^host: //p')
# shellcheck disable=SC2086 # words of their own
cargo build --locked --release --target "$target" --target-dir target $packages
if [ "${1:-}" = dependencies ]; then
  # Cargo goes by times: what comes in place of these may be older.
  # shellcheck disable=SC2086
  cargo clean --locked --release --target "$target" --target-dir target $packages
  rm -r src tests/simulator/src tests/testbed/src
  exit
fi
mkdir -p target/image
cp "target/$target/release/idissuer" "target/$target/release/idissuer-simulator" target/image/
