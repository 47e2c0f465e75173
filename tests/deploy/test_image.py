"""The image that the Dockerfile makes, with a program that was compiled before. Needs root, buildah and debootstrap."""
import json
import os
import pathlib
import subprocess
import tarfile
import tempfile
import time
import unittest
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PROGRAM = os.environ.get("NODEWHY_PROGRAM", str(REPOSITORY / "target/debug/nodewhy"))
# The budget is for what is shipped; an unoptimised program alone is larger.
MOST_BYTES = 25_000_000
THIS_BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
PORT = 19909


class Image:
    """An OCI archive and its files."""

    def __init__(self, file, folder):
        self.folder = folder
        with tarfile.open(file) as archive:
            read = lambda name: archive.extractfile(name).read()  # noqa: E731
            blob = lambda entry: read("blobs/sha256/" + entry["digest"][7:])  # noqa: E731
            manifest = json.loads(blob(json.loads(read("index.json"))["manifests"][0]))
            self.config = json.loads(blob(manifest["config"]))
            self.layers = self.config["rootfs"]["diff_ids"]
            for layer in manifest["layers"]:
                packed = folder / "layer"
                packed.write_bytes(blob(layer))
                with tarfile.open(packed) as files:
                    self.members = files.getmembers()
                    files.extractall(folder / "root", filter="fully_trusted")
        self.root = folder / "root"

    def run(self, *command, **options):
        return subprocess.run(["chroot", self.root, "/usr/bin/nodewhy", *command], capture_output=True, text=True, timeout=60, **options)


def build(name, file, *options):
    subprocess.run([HERE / "image-build", name, file, PROGRAM, *options], check=True,
                   env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"})


class TestImage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        folder = pathlib.Path(cls.folder.name)
        build("localhost/nodewhy:first", folder / "first.tar", "--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=abc")
        cls.image = Image(folder / "first.tar", folder)

    def files(self):
        return {m.name.removeprefix("./"): m for m in self.image.members if not m.isdir()}

    def test_it_is_small(self):
        program = pathlib.Path(PROGRAM).stat().st_size
        libraries = sum(m.size for m in self.files().values()) - program
        release = REPOSITORY / "target/release/nodewhy"
        shipped = release.stat().st_size if release.exists() else min(program, 15_000_000)
        self.assertLess(libraries + shipped, MOST_BYTES)

    def test_it_holds_the_program_and_libraries_and_no_shell(self):
        for name, member in self.files().items():
            is_known = name in ("lib", "lib64", "etc/passwd", "etc/group", "etc/nsswitch.conf", "usr/bin/nodewhy") or \
                name.startswith(("usr/lib", "usr/share/doc/", "var/lib/dpkg/status.d/"))
            self.assertTrue(is_known, name)
            is_program = member.isreg() and member.mode & 0o111 and not name.startswith("usr/lib64/ld-")
            self.assertEqual(bool(is_program), name == "usr/bin/nodewhy", name)
            self.assertFalse(member.mode & 0o7022 and member.isreg(), f"{name} is writable by others or setuid")

    def test_owner_and_times_are_fixed(self):
        for member in self.image.members:
            self.assertEqual((member.uid, member.gid, int(member.mtime)), (0, 0, 1700000000), member.name)

    def test_licences_and_scanner_entries_of_every_package(self):
        names = self.files()
        packages = {n.rsplit("/", 1)[1] for n in names if n.startswith("var/lib/dpkg/status.d/")}
        self.assertLessEqual({"libc6", "libsystemd0", "libzstd1", "liblzma5", "liblz4-1"}, packages)
        for package in packages:
            self.assertIn(f"usr/share/doc/{package}/copyright", names)

    def test_what_the_image_says_of_itself(self):
        config = self.image.config["config"]
        self.assertEqual(config["User"], "0")
        self.assertEqual(config["Entrypoint"], ["/usr/bin/nodewhy"])
        labels = {k.removeprefix("org.opencontainers.image."): v for k, v in config["Labels"].items()}
        self.assertLessEqual({"title": "nodewhy", "version": "1.2.3", "revision": "abc", "licenses": "Apache-2.0"}.items(), labels.items())

    def test_building_again_gives_the_same_layers(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            build("localhost/nodewhy:second", folder / "second.tar", "--no-cache")
            self.assertEqual(Image(folder / "second.tar", folder).layers, self.image.layers)

    def test_it_runs(self):
        self.assertRegex(self.image.run("--version").stdout, r"^nodewhy \d")

    def test_the_agent_answers(self):
        (self.image.root / "proc").mkdir(exist_ok=True)
        agent = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount -t proc proc "$0/proc"; exec chroot "$0" "$@"',
             self.image.root, "/usr/bin/nodewhy", "agent", f"--listen=127.0.0.1:{PORT}", "--state-dir=/tmp", "--kernel-log=none"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            self.assertEqual(self.ask("/healthz", agent), "ok\n")
            self.assertIn("nodewhy_build_info", self.ask("/metrics", agent))
        finally:
            agent.terminate()
            _, said = agent.communicate(timeout=20)
        self.assertEqual(agent.returncode, 0, said)

    def ask(self, path, agent, patience=30):
        until = time.monotonic() + patience
        while True:
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=5).read().decode()
            except (urllib.error.URLError, OSError):
                if agent.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def test_compressed_journals_can_be_read(self):
        """libsystemd opens its decompressors by name: nothing that is linked tells that they are needed."""
        padding = "x" * 4000     # journald compresses fields above 512 bytes
        message = f"Out of memory: Killed process 4242 (victim) {padding}"
        entry = {"__REALTIME_TIMESTAMP": str(int(time.time() * 1e6)), "__MONOTONIC_TIMESTAMP": "5000000",
                 "_BOOT_ID": THIS_BOOT.replace("-", ""), "_TRANSPORT": "kernel", "SYSLOG_FACILITY": "0", "PRIORITY": "3",
                 "_SOURCE_MONOTONIC_TIMESTAMP": "5000000", "MESSAGE": message}
        folder = self.image.root / "journal"
        folder.mkdir()
        file = folder / "system.journal"
        subprocess.run(["/lib/systemd/systemd-journal-remote", "-o", file, "-"], check=True, text=True, capture_output=True,
                       input="".join(f"{k}={v}\n" for k, v in entry.items()) + "\n")
        self.assertNotIn(padding.encode(), file.read_bytes(), "the journal is not compressed: nothing would be tested")
        (self.image.root / "proc").mkdir(exist_ok=True)
        said = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount -t proc proc "$0/proc"; exec chroot "$0" "$@"',
             self.image.root, "/usr/bin/nodewhy", "record", "--seconds=2", "--kernel-log=journal", "--journal-dir=/journal",
             "/tmp/recording"], capture_output=True, text=True, timeout=60)
        self.assertEqual(said.returncode, 0, said.stderr)
        recording = subprocess.run(["zstd", "-dc", self.image.root / "tmp/recording"], capture_output=True, check=True).stdout
        self.assertIn(message.encode(), recording)


if __name__ == "__main__":
    unittest.main()
