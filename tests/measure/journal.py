"""Journal files as journald writes them, made by systemd-journal-remote."""
import os
import pathlib
import subprocess
import tempfile
import time

REMOTE = "/lib/systemd/systemd-journal-remote"

LINES = (
    'reconciler_common.go:251] "operationExecutor.VerifyControllerAttachedVolume started for volume \\"config\\" '
    '(UniqueName: \\"kubernetes.io/configmap/{uid}-config\\") pod \\"web-{pod}\\" (UID: \\"{uid}\\") " pod="shop/web-{pod}"',
    'kubelet.go:2643] "SyncLoop (PLEG): event for pod" pod="shop/web-{pod}" event={{"ID":"{uid}","Type":"ContainerStarted","Data":"{id}"}}',
    'kubelet.go:2643] "SyncLoop (probe)" probe="readiness" status="ready" pod="shop/web-{pod}"',
    'prober.go:107] "Probe failed" probeType="Readiness" pod="shop/web-{pod}" podUID="{uid}" containerName="app" probeResult="failure" '
    'output="HTTP probe failed with statuscode: 503"',
)


def kubelet_lines(count):
    """Lines of a kubelet at -v=2, one in four of them a failed probe."""
    for number in range(count):
        pod = number % 110
        text = LINES[number % len(LINES)].format(uid=f"{pod:08d}-1f2e-4d3c-8b5a-69788796a5b4", pod=pod, id=f"{pod:064x}")
        yield f"I0301 08:{number // 60000 % 60:02d}:{number // 1000 % 60:02d}.{number % 1000:03d}102    1717 {text}"


class Journal:
    """A folder with one journal file, into which the kubelet's lines are written as they come; and the same lines as text."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.text = pathlib.Path(self.folder.name, "kubelet.log")
        self.path = pathlib.Path(self.folder.name, "journal")
        self.path.mkdir()
        self.boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        self.remote = subprocess.Popen([REMOTE, "--split-mode=none", "-o", self.path / "system.journal", "-"],
                                       stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def write(self, lines):
        with open(self.text, "a") as text:
            text.writelines(f"{line}\n" for line in lines)
        for line in lines:
            self.remote.stdin.write(f"__REALTIME_TIMESTAMP={time.time_ns() // 1000}\n__MONOTONIC_TIMESTAMP={time.monotonic_ns() // 1000}\n"
                                    f"_BOOT_ID={self.boot}\nPRIORITY=6\nSYSLOG_IDENTIFIER=kubelet\n_PID=1717\n_TRANSPORT=stdout\n"
                                    f"_STREAM_ID=7f\n_SYSTEMD_UNIT=kubelet.service\n_SYSTEMD_INVOCATION_ID=6b\nMESSAGE={line}\n\n")
        self.remote.stdin.flush()

    @staticmethod
    def is_here():
        return os.access(REMOTE, os.X_OK)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remote.stdin.close()
        self.remote.wait()
        self.folder.cleanup()


def cpu_of(*command):
    """The seconds on a CPU that a command takes; what it prints is thrown away."""
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
