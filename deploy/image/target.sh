# Sourced: what Debian, the C compiler and Rust call the machine that the image is for.
set -eu
here=$(dpkg --print-architecture)
arch=${TARGETARCH:-$here}
case $arch in
  amd64) triplet=x86_64-linux-gnu rust=x86_64-unknown-linux-gnu ;;
  arm64) triplet=aarch64-linux-gnu rust=aarch64-unknown-linux-gnu ;;
  *) echo "no image is made for $arch: choose linux/amd64 or linux/arm64" >&2; exit 2 ;;
esac
