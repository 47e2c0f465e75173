#!/bin/bash
# node-mounts.sh NODE: runs as the first process of a node's namespaces and keeps them.
#
# Each node sees the standard paths of a Kubernetes node, though they are folders of the work folder:
# a DaemonSet with ordinary hostPaths then works on every node unchanged. As the mounts are private to
# this namespace, they are gone when the node's last process is.
. "$(dirname "$0")/env.sh"
name=$1 node=$WORK/nodes/$1
# From the machine: nothing in either direction. Inside: shared, as systemd makes it on a real node,
# because runc refuses containers whose mounts propagate from one that is private.
mount --make-rprivate /
mount --make-rshared /
# Mount points that the machine lacks must not be made on the machine: /etc and /var/lib get a layer of the node's.
for path in etc var/lib; do
  mkdir -p "$node/layers/$path/upper" "$node/layers/$path/work"
  mount -t overlay overlay -o "lowerdir=/$path,upperdir=$node/layers/$path/upper,workdir=$node/layers/$path/work" "/$path"
done
for path in etc/cni/net.d etc/containerd etc/kubernetes var/lib/kubelet var/lib/containerd var/log; do
  mkdir -p "$node/$path" "/$path"
  mount --bind "$node/$path" "/$path"
done
mkdir -p /var/log/pods /var/log/containers
# What the kubelet watches for evictions is a small filesystem of its own on host2: one that tests can fill.
if [ "$name" = host2 ]; then
  truncate -s 400M "$node/nodefs.img"
  mkfs.ext4 -q -m 0 -N 16384 "$node/nodefs.img"
  mkdir "$node/nodefs"
  mount -o loop "$node/nodefs.img" "$node/nodefs"
  mkdir "$node"/nodefs/{kubelet,pods}
  mount --bind "$node/nodefs/kubelet" /var/lib/kubelet
  mount --bind "$node/nodefs/pods" /var/log/pods
fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/containerd /run/nodewhy /run/lock /etc/kubernetes/manifests
hostname "$name"
echo "$name" > /etc/hostname
touch "$node/mounted"
exec sleep infinity
