"""What the agents of the test cluster record, for tests/streams/kubernetes."""
import json
import subprocess

from e2e import cluster

ON_NODE = "/run/nodewhy/recording"      # beside the agent's state, on the node: it survives the agent


def start(nodes):
    """Lets every agent write a recording. It is replaced by one that does; its first signals are in the recording."""
    sets = json.loads(cluster.kubectl("get", "daemonset", "-A", "-l", "app.kubernetes.io/name=nodewhy", "-o", "json"))["items"]
    for node in nodes:
        cluster.on_node(node, "rm", "-f", ON_NODE)
    for meta in (s["metadata"] for s in sets):
        patch = [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": f"--record={ON_NODE}"}]
        where = ["--namespace", meta["namespace"]]
        cluster.kubectl("patch", "daemonset", meta["name"], *where, "--type=json", "--patch", json.dumps(patch))
        cluster.kubectl("rollout", "status", f"daemonset/{meta['name']}", *where, "--timeout=180s")


def fetch(nodes, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for node in nodes:
        with open(folder / f"{node}.jsonl.zst", "wb") as out:
            subprocess.run([cluster.HERE / "on-node.sh", node, "cat", ON_NODE], stdout=out, check=True)
