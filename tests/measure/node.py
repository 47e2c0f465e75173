"""Pods made of cgroups alone, below a parent of their own, with real processes in them."""
import os
import pathlib
import signal
import tempfile
import time
import uuid

ROOT = pathlib.Path("/sys/fs/cgroup")
MIB = 1 << 20


def hierarchy():
    """The hierarchy that accounts memory, and the file that holds a limit."""
    v1 = ROOT / "memory"
    return (v1, "memory.limit_in_bytes") if v1.is_dir() else (ROOT, "memory.max")


class Process:
    """A child that sits in a cgroup and does nothing, until it is told to take more memory than it may."""

    def __init__(self, cgroup):
        ready, self.order = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                (cgroup / "cgroup.procs").write_text("0")
                pathlib.Path("/proc/self/oom_score_adj").write_text("900")
                os.close(self.order[1])
                os.write(ready[1], b"x")
                if os.read(self.order[0], 1):
                    _ = b"x" * (256 * MIB)
            finally:
                os._exit(1)
        os.close(ready[1])
        os.close(self.order[0])
        if os.read(ready[0], 1) != b"x":
            raise SystemExit(f"a process did not get into {cgroup}")
        os.close(ready[0])

    def grow(self):
        """Lets the kernel kill it."""
        os.write(self.order[1], b"x")

    def end(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        os.close(self.order[1])


class Node:
    """So many pods with so many containers in all; a context in which they exist."""

    def __init__(self, pods, containers, limit=64 * MIB):
        self.pods = [str(uuid.uuid4()) for _ in range(pods)]
        self.containers = [(self.pods[number % pods], uuid.uuid4().hex + uuid.uuid4().hex) for number in range(containers)]
        self.limit = limit
        self.processes = []
        self.made = []
        self.logs = tempfile.TemporaryDirectory()

    def __enter__(self):
        top, limit_file = hierarchy()
        parent = top / "nodewhy-measure"
        for folder in [parent, parent / "kubepods", parent / "kubepods/burstable"]:
            self._make(folder)
        burstable = parent / "kubepods/burstable"
        for number, pod in enumerate(self.pods):
            self._make(burstable / f"pod{pod}")
            # The kubelet's log directories name the pods.
            (pathlib.Path(self.logs.name) / f"measure_service-{number}_{pod}" / "app").mkdir(parents=True)
        for pod, container in self.containers:
            folder = burstable / f"pod{pod}" / container
            self._make(folder, leaf=True)
            (folder / limit_file).write_text(str(self.limit))
            self.processes.append(Process(folder))
        return self

    def _make(self, folder, leaf=False):
        folder.mkdir()
        self.made.append(folder)
        control = folder / "cgroup.subtree_control"
        if not leaf and control.exists():
            control.write_text("+memory")

    def __exit__(self, *_):
        for process in self.processes:
            process.end()
        for folder in reversed(self.made):
            self._remove(folder)
        self.logs.cleanup()

    @staticmethod
    def _remove(folder):
        for _ in range(100):
            try:
                return folder.rmdir()
            except OSError:  # a process that has ended is still leaving
                time.sleep(0.02)
        print(f"left behind: {folder}")

    @property
    def arguments(self):
        return ["--pod-log-dir", self.logs.name]
