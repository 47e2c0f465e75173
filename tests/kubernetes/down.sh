#!/bin/bash
# down.sh: ends the cluster, or what is left of one, and fails if anything of it remains.
# What is ours is told by our cgroups, the namespaces that up.sh noted, and paths in the work folder; by nothing else.
. "$(dirname "$0")/env.sh"
groups() { for d in $(cgroups ""); do ls -d "$d$CGROUP"-{control,vm,host1,host2} 2>/dev/null || true; done; }

# Nothing is worth an orderly end: every file that it would protect is removed next.
for try in $(seq 50); do
  pids=$(groups | while read -r g; do find "$g" -name cgroup.procs -exec cat {} + 2>/dev/null || true; done | sort -u)
  [ -n "$pids" ] || break
  [ "$try" -lt 50 ] || die "these processes will not end: $(echo $pids)"
  kill -9 $pids 2>/dev/null || true
  sleep 0.1
done
for try in $(seq 50); do
  groups | while read -r g; do find "$g" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
  [ -n "$(groups)" ] || break
  sleep 0.1
done
losetup -n -O NAME,BACK-FILE | awk -v w="$WORK/" 'index($2, w) == 1 {print $1}' | xargs -r -n1 losetup -d
namespaces=$(cat "$WORK/namespaces" 2>/dev/null || true)
# The kernel takes namespaces apart a moment after their last process; files in their mounts are busy until then.
eventually 10 rm -rf --one-file-system "$WORK"

left=$(
  groups | sed 's/^/cgroup /'
  grep " $WORK" /proc/mounts | sed 's/^/mount /' || true
  losetup -n -O NAME,BACK-FILE | grep -F "$WORK/" | sed 's/^/loop device /' || true
  # Processes that end meanwhile make find fail.
  { find -L /proc/[0-9]*/ns -maxdepth 1 \( -name net -o -name mnt \) -printf '%i %p\n' 2>/dev/null || true; } |
    awk -v ours="$namespaces" 'BEGIN {n = split(ours, list); for (i = 1; i <= n; i++) is[list[i]] = 1} is[$1] {print "namespace " $2}'
)
[ -z "$left" ] || die "left behind:
$left"
