#!/bin/bash
# api-server.sh: starts the API server, in host1's network. Also after it was killed: its state is in etcd and in files.
. "$(dirname "$0")/env.sh"
cd "$WORK"
# Who asks it for what, but only of the agents: every request of theirs is a line.
cat > audit-policy.yaml <<C
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: ["system:serviceaccounts:nodewhy"]}
- level: None
C
start kube-apiserver control "$WORK/log/kube-apiserver$(ls "$WORK/log" | grep -c '^kube-apiserver')" \
  nsenter --target "$(cat pid/host1)" --net kube-apiserver \
  --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --advertise-address=$BRIDGE_NET.1 \
  --cert-dir=cert --service-account-key-file=cert/sa.pub --service-account-signing-key-file=cert/sa.key \
  --service-account-issuer=https://kubernetes.default.svc --token-auth-file=tokens.csv \
  --authorization-mode=Node,RBAC --service-cluster-ip-range=10.0.0.0/24 --allow-privileged \
  --kubelet-preferred-address-types=InternalIP --audit-policy-file=audit-policy.yaml --audit-log-path=log/audit
eventually 60 "$HERE/k" get --raw /readyz
