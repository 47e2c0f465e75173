"""What helm and kustomize make of this repository, as Python sees it."""
import json
import re
import subprocess

import yaml

from variants import CHART, REPOSITORY


class Refused(Exception):
    """helm's words."""


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def objects(text):
    return [o for o in yaml.safe_load_all(text) if o]


def chart(*options, **values):
    """The chart's objects. `values` are set as JSON; options go to helm."""
    sets = [f"--set-json={name.replace('__', '.')}={json.dumps(value)}" for name, value in values.items()]
    return objects(run("helm", "template", "nodewhy", CHART, "--namespace", "nodewhy", *sets, *options))


def kustomized(folder):
    return objects(run("kubectl", "kustomize", folder))


def only(objects, kind):
    found = [o for o in objects if o["kind"] == kind]
    assert len(found) == 1, f"{len(found)} objects are a {kind}"
    return found[0]


def pods(objects):
    """Every pod that would run, with its metadata: of the DaemonSet, and of `helm test`."""
    for o in objects:
        if o["kind"] == "DaemonSet":
            yield o["spec"]["template"]
        elif o["kind"] == "Pod":
            yield o


def environment(pod):
    return {e["name"]: e.get("value") for e in pod["spec"]["containers"][0]["env"]}


def without_helms_own(value):
    """The same object as somebody without helm would have it; lists whose order means nothing are sorted."""
    if isinstance(value, dict):
        return {k: without_helms_own(v) for k, v in value.items()
                if k != "helm.sh/chart" and (k, v) != ("app.kubernetes.io/managed-by", "Helm")}
    if isinstance(value, list):
        name = lambda item: item.get("mountPath") or item.get("name") or "" if isinstance(item, dict) else ""  # noqa: E731
        return sorted((without_helms_own(v) for v in value), key=name)
    return value


def options_of_the_program():
    """The environment variables that the program reads."""
    return set(re.findall(r'env = "(\w+)"', (REPOSITORY / "src/args.rs").read_text()))
