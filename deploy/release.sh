#!/bin/bash
# Builds and tests a release, and writes a Debian package, an archive for other systems, an SBOM and
# checksums to dist/.
#
#   deploy/release.sh              a release; requires a clean checkout and a CHANGELOG.md with the version
#   deploy/release.sh --snapshot   the current files, without these requirements and without the tests; the
#                                  version of its package sorts before the release's
#
# DEBFULLNAME and DEBEMAIL set the maintainer of the package, as in Debian's tools. A release requires
# DEBEMAIL. Requires Debian 12 and `cargo deb`, which .ci/tools installs.
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
    *) fail "unknown argument $1; the only option is --snapshot" ;;
esac
command -v cargo-deb >/dev/null || fail "cargo deb is missing; .ci/tools installs it"

version=$(cargo metadata --no-deps --format-version 1 --locked |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["packages"][0]["version"])')
# All timestamps are the commit's, so that the archive is reproducible. A snapshot can be made outside a
# git repository.
revision=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
debian=$version-1
if $snapshot; then
    debian=$version~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d).$revision-1
else
    status=$(git status --porcelain) && [[ -z $status ]] || fail "the checkout is not clean"
    grep -q "^## \[\?$version\b" CHANGELOG.md || fail "CHANGELOG.md does not name $version"
    [[ -d tests/releases/$version ]] ||
        fail "tests/releases/$version is missing; see CONTRIBUTING.md, Release"
    [[ -n ${DEBEMAIL-} ]] || fail "DEBEMAIL is not set; it names the maintainer of the package"
    tags=$(git tag --points-at HEAD 'v*')
    [[ -z $tags || $tags == "v$version" ]] || fail "the tag $tags of this commit is not v$version"
    ! grep -q '^repository = .*/OWNER/' Cargo.toml ||
        echo "release: repository in Cargo.toml has the placeholder OWNER, so some links lead nowhere; see CONTRIBUTING.md, Release" >&2
    cargo test --locked
fi

cargo build --profile dist --locked
# Not set for the build, because it would invalidate the cached C code.
export SOURCE_DATE_EPOCH
program=${CARGO_TARGET_DIR:-target}/dist/wickr-exporter
target=$(rustc -vV | sed -n 's/^host: //p')
[[ $("$program" --version) == "wickr-exporter $version" ]] || fail "$program is not version $version"

# The program must not need a later glibc than the table of platforms states.
stated=$(sed -n 's/^| Linux x86_64.*glibc \([0-9.]*\) or later.*/\1/p' deploy/README.md)
needed=$(objdump -T "$program" | grep -oP 'GLIBC_\K[0-9.]+' | sort -uV | tail -n 1)
[[ -n $stated && $(printf '%s\n' "$stated" "$needed" | sort -V | tail -n 1) == "$stated" ]] ||
    fail "$program needs glibc $needed, but deploy/README.md states ${stated:-no version}"

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

  * Version $version, built from commit $revision. See changelog.gz for the changes.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END

cargo deb --quiet --no-build --profile dist --locked --deb-version "$debian" --maintainer "$maintainer" --output dist/

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
