#!/bin/bash
# Makes a release in dist/: builds it, tests it, and packs a Debian package, an archive for other
# systems, what the program was made of (an SBOM), and the checksums of all of them.
#
#   deploy/release.sh              a release: of a clean checkout whose CHANGELOG.md names the version
#   deploy/release.sh --snapshot   what is there now, with neither demand and without the tests; its
#                                  package is older than the release's
#
# DEBFULLNAME and DEBEMAIL, as Debian's own tools have them, name who answers for the package; a
# release is not made without.
# It takes Debian 12 and `cargo deb`, both as .ci/tools installs them.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "release: $1" >&2
    exit 1
}

snapshot=false
case ${1-} in
    '') ;;
    --snapshot) snapshot=true ;;
    *) fail "there is only --snapshot, not $1" ;;
esac
command -v cargo-deb >/dev/null || fail "cargo deb is missing; .ci/tools installs it"

version=$(cargo metadata --no-deps --format-version 1 --locked |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["packages"][0]["version"])')
# All times in what is packed are the commit's: packed again, it is the same to the byte. A snapshot
# may be of a folder that git knows nothing of.
revision=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
debian=$version-1
if $snapshot; then
    debian=$version~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d).$revision-1
else
    status=$(git status --porcelain) && [[ -z $status ]] || fail "the checkout is not clean"
    grep -q "^## \[\?$version\b" CHANGELOG.md || fail "CHANGELOG.md does not name $version"
    [[ -d tests/releases/$version ]] ||
        fail "tests/releases has no $version, by which the next will know what this one wrote; see CONTRIBUTING.md"
    [[ -n ${DEBEMAIL-} ]] || fail "DEBEMAIL is not set: somebody must answer for the package"
    cargo test --locked
fi

cargo build --release --locked
# Not before: the C compiler's part of the build would be made anew for it.
export SOURCE_DATE_EPOCH
program=${CARGO_TARGET_DIR:-target}/release/wickr-exporter
target=$(rustc -vV | sed -n 's/^host: //p')
[[ $("$program" --version) == "wickr-exporter $version" ]] || fail "$program is another version"

rm -rf dist
mkdir -p dist/assets
(
    cd dist/assets
    program=$(cd ../.. && realpath "$program")
    "$program" man | gzip -9n >wickr-exporter.1.gz
    "$program" completions bash >wickr-exporter.bash
    "$program" completions zsh >_wickr-exporter
    "$program" completions fish >wickr-exporter.fish
)
gzip -9n <CHANGELOG.md >dist/assets/changelog.gz
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
[[ -z ${DEBEMAIL-} ]] || maintainer="${DEBFULLNAME:-The wickr-exporter authors} <$DEBEMAIL>"
cat >dist/assets/changelog <<END
wickr-exporter ($debian) unstable; urgency=medium

  * Version $version, of commit $revision. What has changed stands in changelog.gz.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END

cargo deb --quiet --no-build --locked --deb-version "$debian" --maintainer "$maintainer" --output dist/

name=wickr-exporter-$version-$target
$snapshot && name=wickr-exporter-$version-$revision-$target
folder=dist/$name
mkdir "$folder"
cp -r "$program" README.md SECURITY.md CHANGELOG.md LICENSE config.example.toml deploy docs "$folder"
mkdir "$folder/completions"
cp dist/assets/{wickr-exporter.bash,_wickr-exporter,wickr-exporter.fish} "$folder/completions"
gunzip <dist/assets/wickr-exporter.1.gz >"$folder/wickr-exporter.1"
tar --create --directory dist --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r,go-w \
    --mtime="@$SOURCE_DATE_EPOCH" "$name" | gzip -9n >"dist/$name.tar.gz"
rm -r "$folder"

deploy/sbom "$target" "$program" >"dist/$name.cdx.json"

(cd dist && sha256sum -- *.deb *.tar.gz *.cdx.json >SHA256SUMS && cat SHA256SUMS)
