"""A node full of pods that exist in a real API server only: the cluster of tests/kubernetes, left up by `NODES=2 tests/kubernetes/run --keep`."""
import http.client
import json
import pathlib
import sys
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "kubernetes"))
from e2e import cluster  # noqa: E402

NAMESPACE = "nodewhy-measure"
NODE = "measured"
ENVIRONMENT = [{"name": f"SETTING_{number}", "value": f"https://service-{number}.shop.svc.cluster.local:8443/api"} for number in range(40)]


class ApiPods:
    """So many pods, each of two containers with the fields of usual ones; a context in which they exist."""

    def __init__(self, pods):
        self.pods = pods

    def __enter__(self):
        cluster.kubectl("create", "namespace", NAMESPACE)
        cluster.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}))
        cluster.eventually(30, lambda: cluster.get(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default") and [])
        cluster.kubectl("create", "serviceaccount", "measure", "--namespace", NAMESPACE)
        cluster.kubectl("create", "clusterrolebinding", "nodewhy-measure", "--clusterrole=view", f"--serviceaccount={NAMESPACE}:measure")
        objects = [pod(number) for number in range(self.pods)]
        cluster.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        for number in range(self.pods):
            patch(f"/api/v1/namespaces/{NAMESPACE}/pods/service-{number}/status", {"status": status(number)})
        return self

    def __exit__(self, *_):
        cluster.kubectl("delete", "pods", "--all", "--namespace", NAMESPACE, "--force", "--grace-period=0")
        cluster.kubectl("delete", "clusterrolebinding", "nodewhy-measure")
        cluster.kubectl("delete", "node", NODE)
        cluster.kubectl("delete", "namespace", NAMESPACE)

    @staticmethod
    def is_here():
        return (cluster.WORK / "api.sock").exists()

    def size(self):
        return len(cluster.get(f"/api/v1/pods?fieldSelector=spec.nodeName={NODE}"))

    @staticmethod
    def as_in_a_pod():
        """What a command must be started with to be on the cluster's network, which this machine has no part in, with the
        service account's files and variables as in a pod. A mount namespace of its own holds the files."""
        service = cluster.get_json("/api/v1/namespaces/default/services/kubernetes")["spec"]
        authority = cluster.get_json(f"/api/v1/namespaces/{NAMESPACE}/configmaps/kube-root-ca.crt")["data"]["ca.crt"]
        token = cluster.kubectl("create", "token", "measure", "--namespace", NAMESPACE).strip()
        environment = [f"KUBERNETES_SERVICE_HOST={service['clusterIP']}", f"KUBERNETES_SERVICE_PORT={service['ports'][0]['port']}",
                       f"ACCOUNT_TOKEN={token}", f"ACCOUNT_CA={authority}", f"ACCOUNT_NAMESPACE={NAMESPACE}"]
        pid = (cluster.WORK / "pid/host1").read_text().strip()
        return ["nsenter", "--target", pid, "--net", "unshare", "--mount", "env", *environment, "sh", "-ec", """
            mount -t tmpfs tmpfs /run
            mkdir -p /run/secrets/kubernetes.io/serviceaccount
            cd /run/secrets/kubernetes.io/serviceaccount
            printf %s "$ACCOUNT_TOKEN" > token
            printf %s "$ACCOUNT_CA" > ca.crt
            printf %s "$ACCOUNT_NAMESPACE" > namespace
            unset ACCOUNT_TOKEN ACCOUNT_CA ACCOUNT_NAMESPACE KUBECONFIG
            cd "$OLDPWD"
            exec "$@" """, "sh"]


def pod(number):
    containers = [{
        "name": name, "image": f"registry.example.com/shop/service-{number}/{name}:1.27.3", "env": ENVIRONMENT,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/service"}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}}, "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
    } for name in ("app", "proxy")]
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"service-{number}", "namespace": NAMESPACE,
                     "labels": {"app.kubernetes.io/name": f"service-{number}", "pod-template-hash": "6d5f8c7b9"},
                     "annotations": {"checksum/config": uuid.uuid4().hex * 2}},
        "spec": {"nodeName": NODE, "containers": containers, "terminationGracePeriodSeconds": 0,
                 "volumes": [{"name": "config", "configMap": {"name": f"service-{number}"}}]},
    }


def status(number):
    started = "2026-03-01T08:00:00Z"
    return {
        "phase": "Running", "startTime": started, "podIP": f"10.88.7.{number % 250 + 1}",
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": started}
                       for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")],
        "containerStatuses": [{
            "name": name, "ready": True, "started": True, "restartCount": 0, "state": {"running": {"startedAt": started}},
            "image": f"registry.example.com/shop/service-{number}/{name}:1.27.3", "imageID": f"registry.example.com/shop@sha256:{uuid.uuid4().hex * 2}",
            "containerID": f"containerd://{uuid.uuid4().hex * 2}",
        } for name in ("app", "proxy")],
    }


def patch(path, body):
    connection = cluster.UnixConnection("localhost")
    connection.request("PATCH", path, json.dumps(body), {"Content-Type": "application/merge-patch+json"})
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    if answer.status != http.client.OK:
        raise SystemExit(f"PATCH {path}: {answer.status} {text}")
