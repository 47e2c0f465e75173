#!/bin/bash
# node.sh NODE: containerd, kubelet and kube-proxy of a node on this machine.
. "$(dirname "$0")/env.sh"
name=$1 i=${1#host} etc=$WORK/nodes/$1/etc

cat > "$etc/cni/net.d/10-bridge.conflist" <<C
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.$i.0/24"}]]}},
  {"type": "loopback"}]}
C
# restrict_oom_score_adj: root here may not have the capability to lower a process's OOM score.
containerd config default 2>/dev/null | sed "
  s#sandbox = '.*#sandbox = 'registry.k8s.io/pause:3.10'#
  s#restrict_oom_score_adj = false#restrict_oom_score_adj = true#
  s#bin_dirs = .*#bin_dirs = ['/usr/lib/cni']#" > "$etc/containerd/config.toml"
start "containerd-$name" "$name" "$WORK/log/containerd-$name" \
  nsenter --target "$(cat "$WORK/pid/$name")" --net --mount --uts containerd
eventually 20 in_node "$name" ctr version
for image in "$WORK"/images/*.tar; do quiet in_node "$name" ctr -n k8s.io images import "$image"; done

mkdir -p $(cgroups "$CGROUP-$name")
# Evictions and image clean-up depend on how full this machine's disk is: only tests that want them shall see them.
# They fill host2's, which is a filesystem of its own (node-mounts.sh).
nodefs='nodefs.available: 20Mi, nodefs.inodesFree: "0%"' more="" verbosity=2
if [ "$name" = host2 ]; then
  nodefs='nodefs.available: "20%", nodefs.inodesFree: "20%"' verbosity=0
  more='evictionPressureTransitionPeriod: 10s
podPidsLimit: 100'
fi
# The kubelet owns the rest of the machine's resources twice over; that is fine for pods this small.
cat > "$etc/kubernetes/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /etc/kubernetes/manifests
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP-$name
failSwapOn: false
failCgroupV1: false
address: $BRIDGE_NET.$i
resolvConf: ""
clusterDNS: [10.0.0.10]
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, $nodefs, imagefs.available: 20Mi}
$more
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
${KUBELET_EXTRA:-}
C
eventually 60 test -e "$WORK/$name.kubeconfig"
cp "$WORK/$name.kubeconfig" "$etc/kubernetes/kubelet.kubeconfig"
cp "$KUBECONFIG" "$etc/kubernetes/proxy.kubeconfig"
eventually 60 "$HERE/k" get --raw /readyz
start "kubelet-$name" "$name" "$WORK/nodes/$name/var/log/kubelet.log" \
  nsenter --target "$(cat "$WORK/pid/$name")" --net --mount --uts \
  kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.kubeconfig \
  --hostname-override="$name" --node-ip="$BRIDGE_NET.$i" --v="${KUBELET_V:-$verbosity}"
# Makes 10.0.0.1 answer from pods. It may not change the machine's conntrack settings, which are not per namespace.
start "kube-proxy-$name" "$name" "$WORK/log/kube-proxy-$name" \
  nsenter --target "$(cat "$WORK/pid/$name")" --net --mount --uts \
  kube-proxy --kubeconfig=/etc/kubernetes/proxy.kubeconfig --hostname-override="$name" --proxy-mode=iptables \
  --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
