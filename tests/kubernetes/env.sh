# Names, versions and small helpers that every script here shares. Sourced, never run.
set -euo pipefail

KUBERNETES_VERSION=1.36.3
CONTAINERD_VERSION=2.4.2
HELM_VERSION=4.3.1
KUBECONFORM_VERSION=0.8.0
PROMETHEUS_VERSION=3.13.5   # a minor of two digits: its module is v0.313.5
GUEST_RELEASE=trixie

# What is expensive to make is kept here and survives every run; an entry's name holds its version.
CACHE=${NODEWHY_CACHE:-$HOME/.cache/nodewhy}
KUBERNETES=$CACHE/kubernetes-$KUBERNETES_VERSION
CONTAINERD=$CACHE/containerd-$CONTAINERD_VERSION
HELM=$CACHE/helm-$HELM_VERSION
KUBECONFORM=$CACHE/kubeconform-$KUBECONFORM_VERSION
PROMETHEUS=$CACHE/prometheus-$PROMETHEUS_VERSION

# What the objects that are shipped must be: this Kubernetes, the oldest that the chart admits, and the operators.
OLDEST_KUBERNETES_VERSION=1.25.16
PROMETHEUS_OPERATOR_VERSION=0.85.0
KYVERNO_VERSION=1.19.1
VERTICAL_POD_AUTOSCALER_VERSION=1.8.1
OPENSHIFT_API_VERSION=0.0.0-20251015095338-264e80a2b6e7
DEFINITIONS=$CACHE/definitions-$(sha256sum <<<"$KUBERNETES_VERSION $OLDEST_KUBERNETES_VERSION $PROMETHEUS_OPERATOR_VERSION \
  $KYVERNO_VERSION $VERTICAL_POD_AUTOSCALER_VERSION $OPENSHIFT_API_VERSION" | head -c 12)

# Everything that a run makes is here and goes with it.
WORK=${NODEWHY_E2E_DIR:-/var/tmp/nodewhy-e2e}
# Clusters in folders of different names do not touch each other.
CGROUP=$(basename "$WORK")     # + -host1, -host2, -control for the control plane, -vm for the virtual machine

# The cluster has one bridge; each node is a port of it. Pods of node N live in 10.88.N.0/24.
BRIDGE_NET=10.99.0

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH="$KUBERNETES:$CONTAINERD:$HELM:$KUBECONFORM:/usr/local/sbin:/usr/sbin:/sbin:$PATH"
export KUBECONFIG="$WORK/admin.kubeconfig"

say() { echo "$(date +%T) $*" >&2; }
# quiet COMMAND...: its output only if it fails.
quiet() { local out; out=$("$@" 2>&1) || { echo "$out" >&2; return 1; }; }
die() { echo "error: $*" >&2; exit 1; }

# cgroups NAME: the folders of that name in each cgroup hierarchy (one with cgroup v2, many with v1).
cgroups() {
  local root=/sys/fs/cgroup
  if [ -e $root/cgroup.procs ]; then echo "$root/$1"; return; fi
  local h
  for h in $root/*/; do [ -h "${h%/}" ] || echo "$h$1"; done
}

# join GROUP: makes this shell, and what it starts from now on, a member of GROUP's cgroups.
join() {
  local d
  for d in $(cgroups "$CGROUP-$1/daemons"); do
    mkdir -p "$d"
    # What else runs on this machine shall not slow the cluster down until its waits run out: above all not the
    # emulated node.
    [ ! -e "$d/cpu.shares" ] || echo 16384 > "${d%/*}/cpu.shares"
    [ ! -e "$d/cpu.weight" ] || echo 1000 > "${d%/*}/cpu.weight"
    # v1's cpuset refuses members until it has CPUs; the other hierarchies are enough.
    { echo $BASHPID > "$d/cgroup.procs"; } 2>/dev/null || true
  done
}

# start NAME GROUP LOG COMMAND...: in the background, in a session of its own, so that ^C reaches only the caller.
# It joins GROUP's cgroups before anything else: whatever it starts is found and ended through them.
start() {
  local name=$1 group=$2 log=$3; shift 3
  { join "$group"; exec setsid "$@"; } > "$log" 2>&1 < /dev/null &
  echo $! > "$WORK/pid/$name"
}

# in_node NODE COMMAND...: with that node's network, mounts and host name, as its daemons are.
in_node() { local pid; pid=$(cat "$WORK/pid/$1"); shift; nsenter --target "$pid" --net --mount --uts "$@"; }

# on_bridge COMMAND...: in host1's network, with this machine's files.
on_bridge() { nsenter --target "$(cat "$WORK/pid/host1")" --net "$@"; }

# eventually SECONDS COMMAND...: repeats COMMAND until it succeeds.
eventually() {
  local until=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || { echo "gave up waiting for: $*" >&2; return 1; }
    sleep 0.2
  done
}

QEMU=$CACHE/qemu-$GUEST_RELEASE
# The guest's disk is made by one script: its contents are part of the version.
guest_disk() { echo "$CACHE/guest-$GUEST_RELEASE-kubernetes-$KUBERNETES_VERSION-$(sha256sum < "$HERE/vm-base.sh" | head -c 12)"; }
