#!/bin/bash
# up.sh: a cluster of NODES nodes (3 by default): host1 and host2 on this machine, host3 a virtual machine.
. "$(dirname "$0")/env.sh"
NODES=${NODES:-3}
[ "$(id -u)" = 0 ] || die "run as root"

"$HERE/binaries.sh"
[ "$NODES" -lt 3 ] || "$HERE/vm-base.sh"
"$HERE/down.sh"   # an earlier run may have been killed
mkdir -p "$WORK"/{pid,log,images,cert,nodes,etcd}
chmod 700 "$WORK"
join control      # if this run is killed now, the next one ends this script with the rest

local_nodes="host1"; [ "$NODES" -lt 2 ] || local_nodes="host1 host2"
say "namespaces of $local_nodes"
for node in $local_nodes; do
  mkdir -p "$WORK/nodes/$node"
  start "$node" "$node" "$WORK/log/$node" unshare --net --mount --uts "$HERE/node-mounts.sh" "$node"
done
for node in $local_nodes; do
  eventually 10 test -e "$WORK/nodes/$node/mounted"
  pid=$(cat "$WORK/pid/$node")
  # Remembered, so that the last check can tell whether they are really gone.
  stat -L -c %i "/proc/$pid/ns/net" "/proc/$pid/ns/mnt" >> "$WORK/namespaces"
done
"$HERE/network.sh" $local_nodes

say "control plane"
"$HERE/images.py" base &
images=$!
"$HERE/control-plane.sh" &
control=$!
wait $images
pids=()
for node in $local_nodes; do "$HERE/node.sh" "$node" & pids+=($!); done
[ "$NODES" -lt 3 ] || { "$HERE/vm.sh" & pids+=($!); }
wait $control
for pid in "${pids[@]}"; do wait "$pid"; done
nodes=$(for i in $(seq "$NODES"); do echo "host$i"; done)
# Seconds, but for the emulated node: one minute, and more when the machine is busy.
for node in $nodes; do eventually 300 "$HERE/k" get node "$node"; done
"$HERE/k" wait --for=condition=Ready --timeout=120s $(printf 'node/%s ' $nodes) >/dev/null
say "ready: $(echo $nodes)"
