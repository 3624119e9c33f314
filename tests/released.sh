#!/usr/bin/env bash
# Checks the files of a release as somebody who downloads them: tests/released.sh <folder> <version>. Runs the programs for this
# machine, and those of another architecture of Linux if there is an emulator (Debian: qemu-user-static).
set -euo pipefail
cd "$1"
version=$2

die() {
  echo "released.sh: $*" >&2
  exit 1
}

sha256sum --check --strict --quiet SHA256SUMS
[ "$(wc --lines <SHA256SUMS)" = "$(find . -type f ! -name SHA256SUMS | wc --lines)" ] || die "a file has no checksum"

unpacked=$(mktemp --directory)
trap 'rm -rf "$unpacked"' EXIT
for archive in *-linux-*.tar.gz *-darwin-*.tar.gz; do
  [ -f "$archive" ] || continue
  rm -rf "${unpacked:?}"/*
  tar --extract --gzip --file "$archive" --directory "$unpacked"
  [ -s "$unpacked/LICENSE" ] || die "$archive has no licence"
  name=${archive%%-linux-*}
  [ "$name" != "$archive" ] || continue # another system: not run
  machine=${archive#"$name-linux-"}
  machine=${machine%.tar.gz}
  case $machine in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; esac
  emulator=
  if [ "$machine" != "$(uname -m)" ]; then
    emulator=$(command -v "qemu-$machine-static") || { echo "not run: $archive, without qemu-$machine-static"; continue; }
  fi
  # shellcheck disable=SC2086 # no emulator is no word
  said=$($emulator "$unpacked/$name" --version)
  [ "$said" = "$name $version" ] || die "the program of $archive says \"$said\""
  echo "runs: $archive${emulator:+ ($emulator)}"
done

for image in image-*.tar; do
  architecture=${image##*-}
  tar --extract --to-stdout --file "$image" index.json | grep --quiet "\"architecture\":\"${architecture%.tar}\"" ||
    die "$image is for other machines"
done
