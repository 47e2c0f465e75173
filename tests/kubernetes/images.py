#!/usr/bin/env python3
"""images.py base | images.py agent BINARY: container images without a registry or an image builder.

Writes OCI archives into the work folder's images/; `ctr images import` takes them. `base` makes busybox, pause and
crash (crash.c); `agent` packs a nodewhy binary with the shared libraries that it is linked to.
"""
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
IMAGES = pathlib.Path(os.environ.get("NODEWHY_E2E_DIR", "/var/tmp/nodewhy-e2e"), "images")
TOOLS = "sh sleep cat echo ls dd head tail true false kill wget nc mkdir rm sync seq date touch env wc".split()


def tar(entries):
    """A tar of (path, content, mode): bytes for a file, None for a folder, a string for a symbolic link's target."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, content, mode in entries:
            info = tarfile.TarInfo(path)
            info.mode = mode
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def with_parents(files):
    """The entries of `files`, each after the folders that lead to it."""
    seen = set()
    for path, content, mode in files:
        for parent in reversed(pathlib.PurePath(path).parents[:-1]):
            if str(parent) not in seen:
                seen.add(str(parent))
                yield str(parent), None, 0o755
        seen.add(path)
        yield path, content, mode


def image(name, files, entrypoint, file):
    """Writes an image of one layer."""
    def blob(kind, content):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": len(content)}, content

    layer = blob("layer.v1.tar", tar(with_parents(files)))
    config = blob("config.v1+json", json.dumps({
        "architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer[0]["digest"]]},
    }).encode())
    manifest = blob("manifest.v1+json", json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config[0], "layers": [layer[0]],
    }).encode())
    index = json.dumps({"schemaVersion": 2, "manifests": [
        manifest[0] | {"annotations": {"io.containerd.image.name": name},
                       "platform": {"os": "linux", "architecture": "amd64"}}]}).encode()
    entries = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}', 0o644), ("index.json", index, 0o644)]
    entries += [("blobs/sha256/" + d["digest"][7:], content, 0o644) for d, content in (layer, config, manifest)]
    part = IMAGES / (file + ".part")
    part.write_bytes(tar(entries))
    part.rename(IMAGES / file)


def compile_static(source):
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder, "program")
        subprocess.run(["gcc", "-static", "-O1", "-s", "-o", program, "-x", "c", source], check=True)
        return program.read_bytes()


def base():
    busybox = pathlib.Path("/bin/busybox").read_bytes()
    crash = compile_static(HERE / "crash.c")
    shell = [("tmp", None, 0o1777), ("bin/busybox", busybox, 0o755)]
    shell += [("bin/" + tool, "busybox", 0o777) for tool in TOOLS]
    image("docker.io/library/busybox:latest", shell, ["/bin/sh"], "busybox.tar")
    # crash pause does what the pause image's program does: wait for ever.
    image("registry.k8s.io/pause:3.10", [("pause", crash, 0o755)], ["/pause", "on-term", "0", "pause"], "pause.tar")
    # Beside the program: what an image may contain that cannot be started.
    image("docker.io/library/crash:latest", shell + [
        ("bin/crash", crash, 0o755),
        ("bin/not-executable", b"#!/bin/sh\n", 0o644),
        ("bin/other-machine", other_machine(crash), 0o755),
        ("bin/lost-interpreter", b"#!/no/such/interpreter\n", 0o755),
    ], ["/bin/crash"], "crash.tar")


def other_machine(program):
    """The same program, for AArch64 by its header."""
    e_machine = 18
    return program[:e_machine] + (183).to_bytes(2, "little") + program[e_machine + 2:]


def agent(binary):
    """The binary with the libraries that ldd names, at the paths where the loader looks for them."""
    files = [("usr/local/bin/nodewhy", pathlib.Path(binary).read_bytes(), 0o755), ("tmp", None, 0o1777)]
    listing = subprocess.run(["ldd", binary], capture_output=True, text=True)
    if "not found" in listing.stdout:
        sys.exit(f"{binary} needs libraries that this machine lacks:\n{listing.stdout}")
    # Nothing for a static binary, which ldd refuses. Lines are "name => /path (0x..)" or "/path (0x..)".
    for path in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", listing.stdout, re.M):
        files.append((path.lstrip("/"), pathlib.Path(path).read_bytes(), 0o755))
    # Certificates of public authorities: webhooks may be https.
    bundle = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists():
        files.append((str(bundle).lstrip("/"), bundle.read_bytes(), 0o644))
    image("docker.io/library/nodewhy:e2e", files, ["/usr/local/bin/nodewhy"], "nodewhy.tar")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["base"]:
            base()
        case ["agent", binary]:
            agent(binary)
        case _:
            sys.exit(__doc__)
