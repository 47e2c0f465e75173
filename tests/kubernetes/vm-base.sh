#!/bin/bash
# vm-base.sh: fills the cache with QEMU and the disk of host3, a Debian node with systemd and cgroup v2.
#
# QEMU is the guest's release's own, in a folder of its own: older ones crash newer guest kernels under
# emulation. What differs from run to run (images, credentials, the kubelet's configuration) comes from a
# second small disk, /seed, that vm.sh makes.
. "$(dirname "$0")/env.sh"
. "$HERE/cache.sh"
[ -d "$QEMU" ] && [ -d "$(guest_disk)" ] && exit
# debootstrap mounts /proc in what it makes; in a namespace of our own that ends with us.
[ -n "${NODEWHY_PRIVATE:-}" ] || NODEWHY_PRIVATE=1 exec unshare --mount --propagation private "$0"
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

build_qemu() {
  debootstrap --variant=minbase --include=qemu-system-x86,qemu-utils "$GUEST_RELEASE" . "$MIRROR" >/dev/null
  rm -rf var/cache/apt/archives/*.deb
  mkdir -p e2e/guest e2e/vm   # where vm.sh binds the disk's and the run's folder
}

build_guest() {
  local packages=systemd,systemd-sysv,udev,dbus,containerd,runc,iproute2,iptables,conntrack,procps,kmod,zstd,e2fsprogs
  packages+=,dmsetup,util-linux,containernetworking-plugins,openssh-server,linux-image-cloud-amd64,initramfs-tools
  debootstrap --variant=minbase --include=$packages "$GUEST_RELEASE" root "$MIRROR" >/dev/null
  cp "$KUBERNETES/kubelet" "$KUBERNETES/kube-proxy" root/usr/local/bin/

  echo host3 > root/etc/hostname
  mkdir -p root/var/log/journal   # makes the journal persistent
  mkdir -p root/seed root/etc/kubernetes/manifests root/etc/cni/net.d root/etc/containerd
  echo '/dev/vdb /seed ext4 ro 0 0' > root/etc/fstab
  printf 'AuthorizedKeysFile /seed/authorized_keys\nUseDNS no\nUsePAM no\n' > root/etc/ssh/sshd_config.d/e2e.conf
  chroot root containerd config default | sed '
    s#sandbox_image = .*#sandbox_image = "registry.k8s.io/pause:3.10"#
    s#SystemdCgroup = false#SystemdCgroup = true#
    s#bin_dir = .*#bin_dir = "/usr/lib/cni"#' > root/etc/containerd/config.toml
  cat > root/etc/cni/net.d/10-bridge.conflist <<C
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.3.0/24"}]]}},
  {"type": "loopback"}]}
C
  cat > root/usr/local/sbin/cluster-network <<C
#!/bin/sh -e
modprobe -a bridge br_netfilter overlay
sysctl -qw net.ipv4.ip_forward=1
ip link set eth0 up
ip addr replace $BRIDGE_NET.3/24 dev eth0
ip route replace default via $BRIDGE_NET.1
ip route replace 10.88.1.0/24 via $BRIDGE_NET.1
ip route replace 10.88.2.0/24 via $BRIDGE_NET.2
C
  chmod +x root/usr/local/sbin/cluster-network
  unit cluster-network 'Before=network.target' oneshot /usr/local/sbin/cluster-network
  unit images 'After=containerd.service' oneshot \
    '/bin/sh -c "for i in /seed/images/*.tar; do ctr -n k8s.io images import $i; done"'
  unit kubelet 'After=containerd.service cluster-network.service images.service' simple \
    '/bin/sh -c "exec /usr/local/bin/kubelet $(cat /seed/kubelet.flags)"'
  unit kube-proxy 'After=cluster-network.service' simple \
    '/bin/sh -c "exec /usr/local/bin/kube-proxy $(cat /seed/kube-proxy.flags)"'
  chroot root systemctl -q enable cluster-network images kubelet kube-proxy containerd ssh
  chroot root systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer

  cp -L root/vmlinuz vmlinuz
  cp -L root/initrd.img initrd.img
  rm -rf root/var/cache/apt/archives/*.deb root/var/lib/apt/lists/*
  truncate -s 6G disk.img
  mkfs.ext4 -q -d root disk.img
  rm -rf root
}

# unit NAME ORDER TYPE COMMAND: a systemd service in root/.
unit() {
  local more=Restart=always; [ "$3" != oneshot ] || more=RemainAfterExit=yes
  cat > "root/etc/systemd/system/$1.service" <<C
[Unit]
$2
RequiresMountsFor=/seed
[Service]
Type=$3
ExecStart=$4
$more
[Install]
WantedBy=multi-user.target
C
}

entry "$QEMU" build_qemu
entry "$(guest_disk)" build_guest
