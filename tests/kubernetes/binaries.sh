#!/bin/bash
# binaries.sh [packages|kubernetes|containerd|helm|kubeconform|definitions|prometheus]...: fills the cache with what a
# run needs. Without arguments: the first three. Nothing is done for what is there already.
. "$(dirname "$0")/env.sh"
. "$HERE/cache.sh"

export GOTOOLCHAIN=local CGO_ENABLED=0
export DEBIAN_FRONTEND=noninteractive

packages() {
  local missing=()
  for p in runc etcd-server containernetworking-plugins iptables iproute2 conntrack busybox-static gcc libc6-dev \
           debootstrap e2fsprogs openssh-client openssl; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  # Another apt on the machine is waited for, not a failure.
  local install=(apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}")
  ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || apt-get update -qq
  # An index that is older than the mirror names files that are gone: refresh it and try once more.
  "${install[@]}" >/dev/null || { apt-get update -qq && "${install[@]}" >/dev/null; }
}

# k8s.io/kubernetes is no ordinary dependency: it replaces its staging modules by folders of its own
# repository. They are published too, as v0.<minor>.<patch>, so a module that replaces them by those builds it.
build_kubernetes() {
  local v=$KUBERNETES_VERSION programs="kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl" p
  mkdir src && cd src
  local upstream
  upstream=$(go mod download -json "k8s.io/kubernetes@v$v" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')
  {
    echo "module nodewhy.test/kubernetes"
    echo "go $(go env GOVERSION | sed 's/^go\([0-9]*\.[0-9]*\).*/\1/').0"
    echo "godebug default=$(go env GOVERSION | sed 's/^\(go[0-9]*\.[0-9]*\).*/\1/')"
    echo "require k8s.io/kubernetes v$v"
    echo "replace ("
    sed -n "s#^\t\(k8s.io/[^ ]*\) => ./staging.*#\t\1 => \1 v0.${v#1.}#p" "$upstream"
    echo ")"
  } > go.mod
  {
    echo "//go:build tools"
    echo "package kubernetes"
    for p in $programs; do echo "import _ \"k8s.io/kubernetes/cmd/$p\""; done
  } > tools.go
  go mod tidy
  local version=k8s.io/component-base/version
  # One build for all of them: they share most of their packages.
  go build -trimpath -o .. -ldflags "-s -w -X $version.gitVersion=v$v -X $version.gitMajor=1 -X $version.gitMinor=$(cut -d. -f2 <<<"$v")" \
    $(for p in $programs; do echo "k8s.io/kubernetes/cmd/$p"; done)
  cd .. && rm -rf src
}

build_containerd() {
  for p in containerd containerd-shim-runc-v2 ctr; do
    GOBIN=$PWD go install -trimpath -ldflags "-s -w" "github.com/containerd/containerd/v2/cmd/$p@v$CONTAINERD_VERSION"
  done
}

# Debian's Prometheus is built without discovery through Kubernetes; this one has no other. Its module replaces one of its
# own requirements, which only a main module may: so it is built from a copy of its sources.
build_prometheus() {
  cp -r "$(module "github.com/prometheus/prometheus@v0.${PROMETHEUS_VERSION/./}")" src
  chmod -R u+w src
  (cd src && GOWORK=off GOFLAGS=-mod=mod go build -trimpath -ldflags "-s -w" -tags remove_all_sd,enable_kubernetes_sd -o .. ./cmd/prometheus)
  rm -rf src
}

build_helm() { GOBIN=$PWD go install -trimpath -ldflags "-s -w" "helm.sh/helm/v4/cmd/helm@v$HELM_VERSION"; }
build_kubeconform() { GOBIN=$PWD go install -trimpath -ldflags "-s -w" "github.com/yannh/kubeconform/cmd/kubeconform@v$KUBECONFORM_VERSION"; }

# Kubernetes' own definitions of its objects (kubernetes-<version>.json), and the CustomResourceDefinitions of those that are
# somebody else's (crds/).
build_definitions() {
  local version
  for version in "$KUBERNETES_VERSION" "$OLDEST_KUBERNETES_VERSION"; do
    cp "$(module "k8s.io/kubernetes@v$version")/api/openapi-spec/swagger.json" "kubernetes-$version.json"
  done
  mkdir crds
  cp "$(module "github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR_VERSION")"/example/prometheus-operator-crd/*_{podmonitors,prometheusrules}.yaml crds/
  cp "$(module "github.com/kyverno/kyverno@v$KYVERNO_VERSION")/config/crds/kyverno/kyverno.io_clusterpolicies.yaml" crds/
  cp "$(module "k8s.io/autoscaler/vertical-pod-autoscaler@v$VERTICAL_POD_AUTOSCALER_VERSION")/deploy/vpa-v1-crd-gen.yaml" crds/
  cp "$(module "github.com/openshift/api@v$OPENSHIFT_API_VERSION")"/security/v1/zz_generated.crd-manifests/*_securitycontextconstraints.crd.yaml crds/
  chmod -R u+w .
}

# module NAME@VERSION: the folder of its sources.
module() { go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)",/\1/p'; }

[ $# -gt 0 ] || set -- packages containerd kubernetes
for target; do
  case $target in
    packages) packages ;;
    kubernetes) entry "$KUBERNETES" build_kubernetes ;;
    containerd) entry "$CONTAINERD" build_containerd ;;
    helm) entry "$HELM" build_helm ;;
    kubeconform) entry "$KUBECONFORM" build_kubeconform ;;
    definitions) entry "$DEFINITIONS" build_definitions ;;
    prometheus) entry "$PROMETHEUS" build_prometheus ;;
    *) die "unknown target $target" ;;
  esac
done
