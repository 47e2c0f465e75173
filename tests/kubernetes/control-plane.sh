#!/bin/bash
# control-plane.sh: etcd, API server, controller manager and scheduler, in host1's network.
. "$(dirname "$0")/env.sh"
cd "$WORK"

# The network is nobody's but this run's, so fixed tokens and an unverified server certificate are enough.
openssl genrsa -out cert/sa.key 2048 2>/dev/null
openssl rsa -in cert/sa.key -pubout -out cert/sa.pub 2>/dev/null
{
  echo 'token-admin,admin,1,"system:masters"'
  echo 'token-controller-manager,system:kube-controller-manager,2,""'
  echo 'token-scheduler,system:kube-scheduler,3,""'
  for i in 1 2 3; do echo "token-host$i,system:node:host$i,1$i,\"system:nodes\""; done
} > tokens.csv
for user in admin controller-manager scheduler host1 host2 host3; do
  cat > $user.kubeconfig <<C
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "https://$BRIDGE_NET.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: $user, user: {token: token-$user}}]
contexts: [{name: e2e, context: {cluster: e2e, user: $user}}]
current-context: e2e
C
done

run() { local name=$1; shift; start "$name" control "$WORK/log/$name" nsenter --target "$(cat pid/host1)" --net "$name" "$@"; }
run etcd --data-dir etcd --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 \
  --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
"$HERE/api-server.sh"
# The API server makes its own certificate at start; pods are given it as the authority to trust.
run kube-controller-manager --kubeconfig=controller-manager.kubeconfig --use-service-account-credentials \
  --service-account-private-key-file=cert/sa.key --root-ca-file=cert/apiserver.crt --leader-elect=false
run kube-scheduler --kubeconfig=scheduler.kubeconfig --leader-elect=false
# Programs outside the cluster's network read the API (and pods' ports, through it) on this socket.
start kubectl-proxy control "$WORK/log/kubectl-proxy" \
  nsenter --target "$(cat pid/host1)" --net kubectl proxy --unix-socket="$WORK/api.sock"
