#!/bin/sh
# Builds the programs of the images: linked statically, and byte for byte the same wherever the sources lie.
#
# glibc, not musl: rustup may be out of reach for another target, and the names of issuers resolve all the same. Since
# glibc 2.34, /etc/hosts and DNS are read without a shared library.
set -eu
cd "$(dirname "$0")/.."

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
cargo build --locked --release --target "$target" --target-dir target \
  --package idissuer --package idissuer-simulator
mkdir -p target/image
cp "target/$target/release/idissuer" "target/$target/release/idissuer-simulator" target/image/
