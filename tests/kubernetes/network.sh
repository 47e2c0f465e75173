#!/bin/bash
# network.sh NODE...: joins the nodes' network namespaces. host1 has the bridge, the others are its ports.
. "$(dirname "$0")/env.sh"
for node; do
  ip() { in_node "$node" ip "$@"; }
  i=${node#host}
  ip link set lo up
  if [ "$i" = 1 ]; then
    ip link add node0 type bridge   # also this node's own interface: not every kernel has dummy devices
    ip addr add $BRIDGE_NET.1/24 dev node0
    ip link set node0 up
  else
    host1=$(cat "$WORK/pid/host1")
    ip link add eth0 type veth peer name "port$i" netns "$host1"
    ip addr add "$BRIDGE_NET.$i/24" dev eth0
    ip link set eth0 up
    in_node host1 ip link set "port$i" master node0 up
  fi
  ip route add default via $BRIDGE_NET.1
  in_node "$node" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
  # Pods of the other nodes.
  for other in 1 2 3; do
    [ "$other" = "$i" ] || ip route add "10.88.$other.0/24" via "$BRIDGE_NET.$other"
  done
done
