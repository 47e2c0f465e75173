#!/bin/bash
# agent.sh BINARY MANIFEST: packs the binary into an image, gives it to every node and applies the manifest.
. "$(dirname "$0")/env.sh"
[ -x "$1" ] || die "no program at $1"
"$HERE/images.py" agent "$1"
image=$WORK/images/nodewhy.tar pids=()
for node in $("$HERE/k" get nodes -o name); do
  quiet "$HERE/on-node.sh" "${node#node/}" ctr -n k8s.io images import - < "$image" & pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
sets() {
  "$HERE/k" get daemonset -A -l app.kubernetes.io/name=nodewhy \
    -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}'
}
before=$(sets)
# Whatever registry the manifest names, this image is meant.
mkdir -p "$WORK/agent"
sed -E 's#^( *(- )?image:) .*#\1 docker.io/library/nodewhy:e2e#; s#(imagePullPolicy:) .*#\1 Never#' "$2" > "$WORK/agent/agent.yaml"
cp "$HERE/agent-disks.yaml" "$WORK/agent/kustomization.yaml"
"$HERE/k" kustomize "$WORK/agent" | "$HERE/k" apply --filename - >/dev/null
for set in $(sets); do
  # The tag stays the same: pods of an earlier binary would stay, too.
  [[ " $before" != *" $set "* ]] || "$HERE/k" -n "${set%/*}" rollout restart "daemonset/${set#*/}" >/dev/null
  "$HERE/k" -n "${set%/*}" rollout status "daemonset/${set#*/}" --timeout=180s >/dev/null
done
[ -n "${set:-}" ] || die "$2 has no DaemonSet with the label app.kubernetes.io/name=nodewhy"
