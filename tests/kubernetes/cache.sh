# Sourced by the scripts that fill the cache.

# entry PATH FUNCTION: runs FUNCTION in a new folder that becomes PATH when it succeeds,
# so that a build which was interrupted is never taken for a finished one.
entry() {
  [ -d "$1" ] && return
  say "building $(basename "$1")"
  mkdir -p "$CACHE"
  building=$CACHE/.building-$(basename "$1").$$
  # Not into what a build may have mounted.
  trap 'rm -rf --one-file-system "$building"' EXIT
  local old
  for old in "$CACHE/.building-$(basename "$1")".*; do
    [ -d "/proc/${old##*.}" ] || rm -rf --one-file-system "$old"   # its build was killed
  done
  mkdir "$building"
  (cd "$building" && "$2")
  mv -T "$building" "$1"
  trap - EXIT
}
