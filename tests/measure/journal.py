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
    """A folder with one journal file of the kubelet's lines, all of the last ten minutes."""

    def __init__(self, lines):
        self.folder = tempfile.TemporaryDirectory()
        self.text = pathlib.Path(self.folder.name, "kubelet.log")
        self.path = pathlib.Path(self.folder.name, "journal")
        self.path.mkdir()
        self.text.write_text("".join(f"{line}\n" for line in lines))
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        remote = subprocess.Popen([REMOTE, "--split-mode=none", "-o", self.path / "system.journal", "-"],
                                  stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        wall, monotonic = int(time.time() * 1e6), time.monotonic_ns() // 1000
        step = 300_000_000 // max(1, len(lines))
        for number, line in enumerate(lines):
            ago = (len(lines) - number) * step
            remote.stdin.write(f"__REALTIME_TIMESTAMP={wall - ago}\n__MONOTONIC_TIMESTAMP={max(1, monotonic - ago)}\n_BOOT_ID={boot}\n"
                               f"PRIORITY=6\nSYSLOG_IDENTIFIER=kubelet\n_PID=1717\n_TRANSPORT=stdout\n_STREAM_ID=7f\n"
                               f"_SYSTEMD_UNIT=kubelet.service\n_SYSTEMD_INVOCATION_ID=6b\nMESSAGE={line}\n\n")
        remote.stdin.close()
        if remote.wait():
            raise SystemExit(f"{REMOTE} could not write the journal")

    @staticmethod
    def is_here():
        return os.access(REMOTE, os.X_OK)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()


def cpu_of(*command):
    """The seconds on a CPU that a command takes; what it prints is thrown away."""
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
