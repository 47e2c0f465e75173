"""What a kubelet leaves on its node while nothing happens: a log that grows, and a directory of pods with volumes."""
import pathlib
import tempfile
import threading

from journal import kubelet_lines

LINES_A_SECOND = 3      # of a kubelet at -v=2 with 110 quiet pods


class Kubelet:
    """A context in which it runs."""

    def __init__(self, pods):
        self.pods, self.stopped = pods, threading.Event()
        self.folder = tempfile.TemporaryDirectory()
        self.log = pathlib.Path(self.folder.name, "kubelet.log")
        self.root = pathlib.Path(self.folder.name, "root")
        self.writer = threading.Thread(target=self._write, daemon=True)

    def _write(self):
        with open(self.log, "a", buffering=1) as log:
            for line in kubelet_lines(1 << 30):
                log.write(line + "\n")
                if self.stopped.wait(1 / LINES_A_SECOND):
                    return

    def __enter__(self):
        for pod in self.pods:
            volume = self.root / "pods" / pod / "volumes/kubernetes.io~empty-dir/cache"
            volume.mkdir(parents=True)
            (volume / "data").write_bytes(bytes(64 << 10))
        self.log.touch()
        self.writer.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.writer.join()
        self.folder.cleanup()

    @property
    def arguments(self):
        return ["--kubelet-log", str(self.log), "--kubelet-root", str(self.root)]
