#!/bin/sh
# Builds the programs for the images: statically linked and reproducible in any folder. With the argument `dependencies`, builds
# only their dependencies, from the manifests alone. TARGET is for another machine than this one (a triple of Rust); OUTPUT is
# where the programs go, `target/image` by default.
#
# Uses glibc, not musl: a musl target needs rustup, and name resolution works with glibc too. Since glibc 2.34, /etc/hosts and
# DNS need no shared library.
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
# The second flag makes random numbers come from the system call; otherwise they would come from /dev/urandom, because the call
# is looked up in a shared library.
RUSTFLAGS="-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\""
RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$PWD=/source"
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
  RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$crates=/crates"
done
export RUSTFLAGS
# With --target, the flags do not apply to build scripts.
target=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
output=${OUTPUT:-target/image}
echo 'building the programs of the images; the first time, this takes about a quarter of an hour on two cores' >&2
# shellcheck disable=SC2086 # split into words
cargo build --locked --release --target "$target" --target-dir target $packages
if [ "${1:-}" = dependencies ]; then
  # Cargo compares modification times, and the real sources may be older than these.
  # shellcheck disable=SC2086
  cargo clean --locked --release --target "$target" --target-dir target $packages
  rm -r src tests/simulator/src tests/testbed/src
  exit
fi
mkdir -p "$output"
cp "target/$target/release/idissuer" "target/$target/release/idissuer-simulator" "$output/"
