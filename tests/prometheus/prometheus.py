"""A real Prometheus with the shipped rules and scrape configuration, for as long as a test needs it."""
import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

import yaml

import shipped

PATIENCE = 60       # seconds until it answers: reading a configuration of 1,000 targets takes some


class Prometheus:
    def __init__(self, url, process):
        self.url, self.process = url, process

    def get(self, path, **parameters):
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=60) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """{labels as a frozenset of pairs: value}"""
        result = self.get("query", query=expression)["result"]
        return {frozenset(row["metric"].items()): float(row["value"][1]) for row in result}

    def targets(self):
        return self.get("targets", state="active")["activeTargets"]

    def rules(self):
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


def scrape_job(targets, interval):
    """The shipped job, with a file of targets where it asks Kubernetes: Debian builds Prometheus without that."""
    job = yaml.safe_load((shipped.DEPLOY / "scrape.yaml").read_text())["scrape_configs"][0]
    del job["kubernetes_sd_configs"]
    return job | {"file_sd_configs": [{"files": [str(targets)]}]} | ({"scrape_interval": interval, "scrape_timeout": interval} if interval else {})


def rules_at(folder, interval):
    """Copies of the shipped rules, evaluated at another interval."""
    for file in shipped.rule_files():
        rules = yaml.safe_load(file.read_text())
        for group in rules["groups"]:
            group["interval"] = interval
        (folder / file.name).write_text(yaml.dump(rules, sort_keys=False))
    return folder


@contextlib.contextmanager
def running(targets, interval=None):
    """`targets`: (address, path, node) of each agent. `interval`: instead of the shipped ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        file = folder / "targets.json"
        file.write_text(json.dumps([{"targets": [address], "labels": {
            "__metrics_path__": path, "__meta_kubernetes_pod_node_name": node, "__meta_kubernetes_pod_phase": "Running",
            "__meta_kubernetes_pod_container_port_name": "metrics"}} for address, path, node in targets]))
        (folder / "rules").mkdir()
        rules = rules_at(folder / "rules", interval) if interval else shipped.DEPLOY / "rules"
        config = folder / "prometheus.yml"
        config.write_text(yaml.dump({
            "global": {"evaluation_interval": interval or "1m"}, "rule_files": [f"{rules}/*.yaml"],
            "scrape_configs": [scrape_job(file, interval)]}))
        log = folder / "log"
        port = free_port()
        with open(log, "w") as out:
            process = subprocess.Popen(
                ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"],
                stdout=out, stderr=subprocess.STDOUT)
        try:
            prometheus = Prometheus(f"http://127.0.0.1:{port}", process)
            wait_until_ready(prometheus, log)
            yield prometheus
        finally:
            process.send_signal(signal.SIGKILL)     # what it would still write is thrown away
            process.wait()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until_ready(prometheus, log):
    until = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(prometheus.url + "/-/ready").close()
            return
        except OSError:
            if prometheus.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Prometheus does not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.1)
