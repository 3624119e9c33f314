#!/usr/bin/env bash
# Packs a release: `deploy/release.sh linux-amd64 darwin-arm64 …` takes the programs and images of these platforms from
# target/platforms/<platform>/ and writes all files of the release to target/release-files. `make release-dry-run` does both for
# this machine; .github/workflows/release.yml builds each platform on a machine of its own.
#
# `deploy/release.sh check v1.2.3` fails unless the sources are ready to be released under this tag.
#
# REPOSITORY is the address of the repository, REGISTRY the registry and path of images and chart, HELM the program.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob

repository=${REPOSITORY:-https://github.com/OWNER/REPOSITORY}
registry=${REGISTRY:-registry.example.com/idissuer}
helm=${HELM:-helm}
built=${BUILT:-target/platforms}
files=${FILES:-target/release-files}
# Nothing in an archive tells when it was packed.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)

die() {
  echo "release.sh: $*" >&2
  exit 1
}

# The changelog of this version, with its heading.
changes() {
  awk -v version="$version" '/^## /{is_it = index($2 ",", version ",") == 1} is_it' CHANGELOG.md
}

check() {
  [ "$1" = "v$version" ] || die "the tag is $1, but Cargo.toml has the version $version: tag v$version, or change Cargo.toml"
  changes | grep -qE "^## $version, [0-9]{4}-[0-9]{2}-[0-9]{2}$" ||
    die "CHANGELOG.md does not say when $version was released: write \`## $version, $(date +%F)\`, and run \`make chart\`"
}

# archive <name> <folder> <file>…
archive() {
  local name=$1 folder=$2
  shift 2
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX --mtime="@$epoch" --directory="$folder" "$@" |
    gzip --best --no-name >"$files/$name"
}

# The operator with the sidecar, and the same program as a plugin.
programs() {
  local platform=$1
  [ -f "$built/$platform/idissuer" ] || die "$built/$platform/idissuer is missing: build it first"
  install -m 755 "$built/$platform/idissuer" "$work/idissuer"
  archive "idissuer-$platform.tar.gz" "$work" idissuer LICENSE
  mv "$work/idissuer" "$work/kubectl-idissuer"
  archive "kubectl-idissuer-$platform.tar.gz" "$work" kubectl-idissuer LICENSE
}

images() {
  local platform=$1 image
  for image in idissuer idissuer-simulator; do
    cp "$built/$platform/$image.tar" "$files/image-$image-$platform.tar"
    cp "$built/$platform/$image.cdx.json" "$files/$image-$platform.cdx.json"
  done
}

# The chart as it is, but for where it comes from and where its images are.
chart() {
  local chart="$work/idissuer-operator"
  cp -r charts/idissuer-operator "$work/"
  sed -i "s|^home: .*|&\nsources: [$repository]|; s|^\( *image: \)idissuer|\1$registry/idissuer|" "$chart/Chart.yaml"
  sed -i "s|^\( *registry: \)\"\"|\1$registry|" "$chart/values.yaml"
  sed -i "s#\(registry\` | \)\`\"\"\`#\1\`$registry\`#" "$chart/README.md"
  "$helm" package "$chart" --destination "$work" >/dev/null
  # Again, because Helm writes the time into it.
  mkdir "$work/packed"
  tar --extract --gzip --file "$work/idissuer-operator-$version.tgz" --directory "$work/packed"
  archive "idissuer-operator-$version.tgz" "$work/packed" idissuer-operator
}

manifests() {
  cp crds/idissuer.pl_idissuercredentials.yaml "$files/"
  sed "s|image: \"idissuer:|image: \"$registry/idissuer:|" deploy/install.yaml >"$files/install.yaml"
}

# The plugin's manifest for krew's index.
krew() {
  local platform
  sed "/^#/d; s/VERSION/v$version/" deploy/krew.yaml
  for platform in "$@"; do
    cat <<STANZA
    - selector:
        matchLabels: {os: ${platform%-*}, arch: ${platform#*-}}
      uri: $repository/releases/download/v$version/kubectl-idissuer-$platform.tar.gz
      sha256: $(sha256sum "$files/kubectl-idissuer-$platform.tar.gz" | cut --delimiter=" " --fields=1)
      files:
        - {from: kubectl-idissuer, to: .}
        - {from: LICENSE, to: .}
      bin: kubectl-idissuer
STANZA
  done
}

notes() {
  changes | tail -n +2 | sed '/./,$!d'
  echo
  echo "Verify the files as [the book]($repository/blob/v$version/docs/src/reference/verify.md) says. The images and the chart are in $registry."
}

if [ "${1:-}" = check ]; then
  check "${2:?the tag}"
  exit
fi
[ $# -gt 0 ] || die "name the platforms, for example linux-amd64"
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
rm -rf "$files"
mkdir -p "$files"
cp LICENSE "$work/"
for platform in "$@"; do
  programs "$platform"
  case $platform in linux-*) images "$platform" ;; esac
done
chart
manifests
krew "$@" >"$files/idissuer.yaml"
notes >"$files/RELEASE_NOTES.md"
(cd "$files" && sha256sum -- * >SHA256SUMS)
ls -l "$files"
