#!/bin/bash
# on-node.sh NODE COMMAND...: runs a command on a node: in its namespaces, or in the guest (by a shell there).
. "$(dirname "$0")/env.sh"
node=$1; shift
[ "$node" = host3 ] || { in_node "$node" "$@"; exit; }
on_bridge ssh -q -i "$WORK/vm/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes \
  -o ConnectTimeout=20 "root@$BRIDGE_NET.3" "$(printf '%q ' "$@")"
