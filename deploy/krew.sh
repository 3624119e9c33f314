#!/bin/sh
# Packs a program for krew: `deploy/krew.sh PROGRAM FOLDER TAG [ARCHITECTURE]`. Writes the archive that deploy/krew.yaml names into
# the folder, and idissuer.yaml beside it: the manifest with the checksums of all archives there. Platforms without an archive are
# left out, so copy those of other machines there first. The same program gives the same archive.
set -eu
cd "$(dirname "$0")/.."
program=$1 folder=$2 tag=$3 architecture=${4:-$(uname -m)}
case $architecture in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
esac

mkdir -p "$folder"
packed=$(mktemp -d)
trap 'rm -rf "$packed"' EXIT
install -m 755 "$program" "$packed/idissuer"
install -m 644 LICENSE "$packed/LICENSE"
tar --create --directory="$packed" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner idissuer LICENSE \
  | gzip --no-name --best > "$folder/kubectl-idissuer-linux-$architecture.tar.gz"

# Each platform of the manifest begins with `- selector`, and names its archive at the end of an address.
awk -v folder="$folder" -v tag="$tag" '
  function flush() { if (is_known) printf "%s", platform; platform = "" }
  /^    - selector:/ { flush(); is_known = 1 }
  /addURIAndSha/ {
    match($0, /"[^"]*"/); address = substr($0, RSTART + 1, RLENGTH - 2); gsub(/\{\{ \.TagName \}\}/, tag, address)
    archive = address; sub(/.*\//, "", archive)
    command = "sha256sum \"" folder "/" archive "\" 2>/dev/null"; checksum = ""
    command | getline checksum; close(command); sub(/ .*/, "", checksum)
    is_known = checksum != ""
    $0 = "      uri: " address "\n      sha256: " checksum
  }
  { gsub(/\{\{ \.TagName \}\}/, tag); platform = platform $0 "\n" }
  BEGIN { is_known = 1 }
  END { flush() }
' deploy/krew.yaml > "$folder/idissuer.yaml"
