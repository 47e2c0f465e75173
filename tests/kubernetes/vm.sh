#!/bin/bash
# vm.sh: starts host3. It joins the cluster by itself; up.sh waits for that.
. "$(dirname "$0")/env.sh"
vm=$WORK/vm guest=$(guest_disk) seed=$WORK/vm/seed
mkdir -p "$seed/images"
ssh-keygen -q -t ed25519 -N '' -f "$vm/key"
cp "$vm/key.pub" "$seed/authorized_keys"
cp "$WORK"/images/*.tar "$seed/images/"
eventually 60 test -e "$WORK/host3.kubeconfig"
cp "$WORK/host3.kubeconfig" "$seed/kubelet.kubeconfig"
cp "$KUBECONFIG" "$seed/proxy.kubeconfig"
cat > "$seed/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /etc/kubernetes/manifests
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: systemd
failSwapOn: false
address: 0.0.0.0
resolvConf: ""
clusterDNS: [10.0.0.10]
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
${KUBELET_EXTRA:-}
C
echo "--config=/seed/kubelet.yaml --kubeconfig=/seed/kubelet.kubeconfig --hostname-override=host3" \
  "--node-ip=$BRIDGE_NET.3 --v=${KUBELET_V:-2}" > "$seed/kubelet.flags"
echo "--kubeconfig=/seed/proxy.kubeconfig --hostname-override=host3 --proxy-mode=iptables --conntrack-max-per-core=0" \
  "--conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0" > "$seed/kube-proxy.flags"
truncate -s 64M "$vm/seed.img"
mkfs.ext4 -q -d "$seed" "$vm/seed.img"

# The disk is a copy that holds only what differs from the cached one.
chroot_run() {
  nsenter --target "$(cat "$WORK/pid/host1")" --net unshare --mount --propagation private sh -c '
    qemu=$0 guest=$1 vm=$2; shift 2
    mount --rbind /dev "$qemu/dev"
    mount --bind "$guest" "$qemu/e2e/guest"
    mount --bind "$vm" "$qemu/e2e/vm"
    exec chroot "$qemu" "$@"' "$QEMU" "$guest" "$vm" "$@"
}
chroot_run qemu-img create -q -f qcow2 -F raw -b /e2e/guest/disk.img /e2e/vm/disk.qcow2
in_node host1 sh -c 'ip tuntap add tap0 mode tap && ip link set tap0 master node0 up'
start vm vm "$WORK/log/qemu" bash -c "$(declare -f chroot_run); $(declare -p WORK QEMU guest vm); "'chroot_run "$@"' vm \
  qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -display none \
  -chardev socket,id=console,path=/e2e/vm/console.sock,server=on,wait=off,logfile=/e2e/vm/console \
  -serial chardev:console -monitor unix:/e2e/vm/monitor.sock,server,nowait \
  -kernel /e2e/guest/vmlinuz -initrd /e2e/guest/initrd.img \
  -append "root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=1" \
  -drive file=/e2e/vm/disk.qcow2,if=virtio,format=qcow2,cache=unsafe \
  -drive file=/e2e/vm/seed.img,if=virtio,format=raw,cache=unsafe \
  -netdev tap,id=net,ifname=tap0,script=no,downscript=no -device virtio-net-pci,netdev=net -device virtio-rng-pci
