#!/bin/bash
# agent.sh BINARY: packs the binary into an image, gives it to every node and installs the chart, as docs/install.md says
# it for a cluster whose nodes are of two kinds: once with its defaults for nodes with systemd's journal, and once with the
# profile syslog for those without. A second call is an upgrade.
. "$(dirname "$0")/env.sh"
[ -x "$1" ] || die "no program at $1"
"$HERE/binaries.sh" helm
"$HERE/images.py" agent "$1"
image=$WORK/images/nodewhy.tar pids=()
for node in $("$HERE/k" get nodes -o name); do
  quiet "$HERE/on-node.sh" "${node#node/}" ctr -n k8s.io images import - < "$image" & pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done

# install RELEASE VALUES
install() {
  # The tag stays the same: that the image is another one has to show in the pods.
  "$HERE/helm" upgrade --install "$1" "$HERE/../../deploy/helm/nodewhy" --namespace nodewhy \
    --values "$HERE/values/image.yaml" --values "$HERE/values/$2.yaml" --set-string "podAnnotations.image=$(sha256sum < "$image" | head -c 12)" \
    --wait --timeout 180s
}
"$HERE/k" get namespace nodewhy >/dev/null 2>&1 || "$HERE/k" create namespace nodewhy >/dev/null
quiet install nodewhy journal & pids=($!)
quiet install nodewhy-without-journal syslog & pids+=($!)
for pid in "${pids[@]}"; do wait "$pid"; done
