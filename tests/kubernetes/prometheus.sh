#!/bin/bash
# prometheus.sh CONFIG: starts Prometheus in host1's network, where it reaches the API server and the pods of all nodes.
# It is a member of the control plane's cgroups, so down.sh ends it with the rest.
. "$(dirname "$0")/env.sh"
quiet "$HERE/binaries.sh" prometheus
start prometheus control "$WORK/log/prometheus" nsenter --target "$(cat "$WORK/pid/host1")" --net \
  "$PROMETHEUS/prometheus" --config.file="$1" --storage.tsdb.path="$WORK/prometheus/data" --web.listen-address=127.0.0.1:9090
