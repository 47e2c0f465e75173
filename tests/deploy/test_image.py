"""The image that the Dockerfile makes: with the program that is shipped, compiled before; and compiled in the build, unoptimised, for
this machine and for arm64. Needs root, buildah and debootstrap."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PROGRAM = os.environ["NODEWHY_PROGRAM"]
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
                    files.extraction_filter = lambda member, _: member     # as older Pythons do, which know no filters
                    files.extractall(folder / "root")
        self.root = folder / "root"

    def run(self, *command, **options):
        return subprocess.run(["chroot", self.root, "/usr/bin/nodewhy", *command], capture_output=True, text=True, timeout=60, **options)


def build(name, file, *options, program=PROGRAM):
    subprocess.run([HERE / "image-build", name, file, program, *options], check=True,
                   env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"})


def libraries(image):
    """The names of the image's libraries, without the loader."""
    return {file.name for file in (image.root / "usr/lib").rglob("*.so*") if not file.name.startswith("ld-linux")}


def needed(image):
    """What the program, and what libsystemd opens by name, name as needed; and what those name."""
    folder = next(file.parent for file in (image.root / "usr/lib").rglob("libc.so.6"))
    found, left = set(), [*named(image.root / "usr/bin/nodewhy"), "liblz4.so.1", "liblzma.so.5", "libzstd.so.1"]
    while left:
        name = left.pop()
        if name not in found and not name.startswith("ld-linux"):
            found.add(name)
            left += named(folder / name)
    return found


def named(file):
    said = subprocess.run(["readelf", "-d", file], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.*)\]", said)


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
        size = sum(m.size for m in self.files().values())
        print(f"{size / 1e6:.1f} MB", file=sys.stderr)
        self.assertLess(size, MOST_BYTES)

    def test_it_holds_the_libraries_that_are_needed_and_no_other(self):
        self.assertEqual(libraries(self.image), needed(self.image))

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


class TestCompiled(unittest.TestCase):
    """The Dockerfile compiles, too: for the machine that builds, and for another one."""

    def compiled(self, machine):
        """By the argument that buildx sets for --platform, which Debian's buildah does not."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        folder = pathlib.Path(folder.name)
        build(f"localhost/nodewhy:{machine}", folder / "image.tar", "--build-arg", f"TARGETARCH={machine}", "--build-arg", "PROFILE=dev", program="")
        image = Image(folder / "image.tar", folder)
        self.assertEqual(libraries(image), needed(image))
        return image

    def test_for_amd64(self):
        self.assertRegex(self.compiled("amd64").run("--version").stdout, r"^nodewhy \d")

    def test_for_arm64(self):
        image = self.compiled("arm64")
        programs = [file for file in (image.root / "usr").rglob("*") if file.is_file() and file.read_bytes()[:4] == b"\x7fELF"]
        self.assertGreater(len(programs), 5)
        for file in programs:
            self.assertIn("AArch64", subprocess.run(["readelf", "-h", file], capture_output=True, text=True, check=True).stdout, file)
        # Under emulation: its loader finds its libraries, and it explains a recorded log.
        emulated = ["qemu-aarch64-static", "-L", image.root, image.root / "usr/bin/nodewhy"]
        said = subprocess.run([*emulated, "--version"], capture_output=True, text=True, timeout=120)
        self.assertRegex(said.stdout, r"^nodewhy \d", said.stderr)
        line = "[   10.000000] Out of memory: Killed process 4242 (victim) total-vm:1000kB, anon-rss:900kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:40kB oom_score_adj:0\n"
        said = subprocess.run([*emulated, "parse"], input=line, capture_output=True, text=True, timeout=120)
        self.assertIn("victim", said.stdout, said.stderr)


if __name__ == "__main__":
    unittest.main()
