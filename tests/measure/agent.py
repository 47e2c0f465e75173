"""A running agent, and what it costs."""
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

PORT = 9919
DOCKERFILE = pathlib.Path(__file__).resolve().parent.parent.parent / "Dockerfile"
PATIENCE = 30


class Costs:
    """CPU time and memory of a process, read from /proc. All threads together."""

    def __init__(self, pid):
        self.proc = pathlib.Path(f"/proc/{pid}")

    def cpu_seconds(self):
        # The first figure of schedstat is time on a CPU in nanoseconds; stat counts in ticks of 10 ms.
        threads = self.proc.glob("task/*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def memory(self):
        """VmRSS and of it the anonymous part, in bytes."""
        fields = dict(line.split(":", 1) for line in (self.proc / "status").read_text().splitlines())
        return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon"))

    def peak(self):
        fields = dict(line.split(":", 1) for line in (self.proc / "status").read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024


def as_in_the_image():
    """The allocator's settings."""
    return dict(re.findall(r"^ENV (GLIBC_TUNABLES)=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE))


class Agent:
    """`nodewhy agent -o json`, with a state of its own. Every finding it prints is kept with the moment it came."""

    def __init__(self, binary, *arguments):
        self.state = tempfile.TemporaryDirectory()
        command = [binary, "agent", "-o", "json", "--listen", f"127.0.0.1:{PORT}", "--state-dir", self.state.name,
                   "--node-name", "measured", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | as_in_the_image())
        self.costs = Costs(self.process.pid)
        self.told = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self._wait_until_ready()

    def _read(self):
        for line in self.process.stdout:
            self.told.append((time.monotonic(), line))

    def _wait_until_ready(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                return self.get("/readyz")
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the agent does not become ready: run it by hand and look at what it says")

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=PATIENCE) as answer:
            return answer.read().decode()

    def metric(self, name, **labels):
        """The sum of a metric's series that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in self.get("/metrics").splitlines() if line.startswith((name + "{", name + " "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in wanted))

    def first_told(self, text):
        """When the first finding that holds `text` was printed."""
        return next((moment for moment, line in self.told if text.encode() in line), None)

    def wait_for(self, text, seconds):
        end = time.monotonic() + seconds
        while self.first_told(text) is None and time.monotonic() < end:
            time.sleep(0.01)
        return self.first_told(text)

    def findings(self):
        return json.loads(self.get("/api/v1/findings"))["findings"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)
        self.state.cleanup()


class NodeExporter:
    """Debian's prometheus-node-exporter beside the agent, as a measure of what such a program costs."""

    PORT = 9918

    def __init__(self):
        self.process = subprocess.Popen(
            ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{self.PORT}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.costs = Costs(self.process.pid)

    def scrape(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.PORT}/metrics", timeout=PATIENCE) as answer:
            return answer.read()

    @staticmethod
    def is_here():
        return any(os.access(f"{folder}/prometheus-node-exporter", os.X_OK) for folder in os.environ["PATH"].split(":"))

    def __enter__(self):
        time.sleep(1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE)
