"""A real Prometheus that holds the made-up cluster, and the shipped recording rules' results of it."""

import json
import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from made_up_nodes import DAY, SELDOM, Cluster
from names import RULES

# Any moment will do; a full hour, because subqueries ask on the hour.
NOW = 1_777_636_800  # 2026-05-01T12:00:00Z


class Prometheus:
    """Started on a free port of this machine, with data in a folder of its own."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="nodewhy-dashboards-")
        self.data = Path(self.folder.name) / "data"
        self.process: subprocess.Popen | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"

    def fill(self) -> None:
        """Imports the made-up cluster and lets the recording rules run over it, those first that others build on."""
        cluster = Cluster(NOW)
        for name, lines in (("old", cluster.old()), ("recent", cluster.recent())):
            path = Path(self.folder.name) / name
            with path.open("w") as file:
                file.writelines(lines)
            self._promtool("openmetrics", path, self.data)
        for level in rules_by_level():
            path = Path(self.folder.name) / "rules.yaml"
            path.write_text("groups:\n- name: level\n  rules:\n" + "".join(level))
            self.start()
            self._promtool(
                "rules", f"--url={self.address}", f"--start={NOW - DAY // 2}", f"--end={NOW}", f"--eval-interval={SELDOM}s",
                f"--output-dir={self.data}", path,
            )
            self.stop()
        self.start()

    def start(self) -> None:
        config = Path(self.folder.name) / "prometheus.yaml"
        config.write_text("{}")
        with (Path(self.folder.name) / "log").open("a") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.data}", "--storage.tsdb.retention.time=99y",
                    f"--web.listen-address={self.address.removeprefix('http://')}", f"--query.lookback-delta={SELDOM}s",
                ],
                stdout=log, stderr=log,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{self.address}/-/ready", timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError((Path(self.folder.name) / "log").read_text()[-2000:]) from None
                time.sleep(0.1)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self.stop()
        self.folder.cleanup()

    def now(self, expr: str) -> list[dict]:
        return self._ask("query", query=expr, time=NOW)

    def over(self, expr: str, seconds: int, step: int) -> list[dict]:
        return self._ask("query_range", query=expr, start=NOW - seconds, end=NOW, step=step)

    def _ask(self, kind: str, **what) -> list[dict]:
        url = f"{self.address}/api/v1/{kind}"
        try:
            with urllib.request.urlopen(url, urllib.parse.urlencode(what).encode(), timeout=60) as answer:
                result = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None
        return [{"metric": {}, "value": result["result"]}] if result["resultType"] == "scalar" else result["result"]

    def _promtool(self, kind: str, *arguments) -> None:
        command = ["promtool", "tsdb", "create-blocks-from", kind, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"GOGC": "400"}, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")


def rules_by_level() -> list[list[str]]:
    """The recording rules, as they are written, in the order of their dependence on one another."""
    text = "".join(path.read_text() for path in sorted(RULES.glob("*.yaml")))
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    left = {}
    for rule in re.findall(r"^  - record: .*\n(?:^    .*\n|^\n)*", text, flags=re.MULTILINE):
        left[re.match(r"  - record: (\S+)", rule).group(1)] = rule
    levels = []
    while left:
        ready = [
            name for name, rule in left.items()
            if not any(re.search(rf"(?<![\w:]){re.escape(other)}(?![\w:])", rule.split("\n", 1)[1]) for other in left)
        ]
        if not ready:
            raise ValueError(f"rules depend on one another in a circle: {sorted(left)}")
        levels.append([left.pop(name) for name in ready])
    return levels
