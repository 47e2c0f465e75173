"""Everything that is shipped to be applied, as YAML. Needs nothing but Python's own library, helm and kubectl."""
import pathlib
import subprocess

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
CHART = REPOSITORY / "deploy/helm/nodewhy"
DISTRIBUTIONS = sorted((REPOSITORY / "deploy/helm/distributions").glob("*.yaml"))
OVERLAYS = REPOSITORY / "deploy/kustomize/overlays"
GOLDEN = REPOSITORY / "tests/deploy/golden"
PROFILES = ["journal", "syslog", "kmsg", "api-only", "autopilot"]


def all_of_them(helm="helm", kubectl="kubectl"):
    """(name, command that prints it) of each."""
    for name, options in of_the_chart().items():
        yield name, [helm, "template", "nodewhy", CHART, "--namespace", "nodewhy", *options]
    for folder in sorted(OVERLAYS.iterdir()):
        yield f"overlay-{folder.name}", [kubectl, "kustomize", folder]
    for file in [REPOSITORY / "deploy/install.yaml", *sorted((REPOSITORY / "deploy/policies").glob("*.yaml"))]:
        yield file.stem, ["cat", file]


def of_the_chart():
    chosen = {f"profile-{profile}": ["--set", f"securityProfile={profile}"] for profile in PROFILES}
    chosen |= {f"distribution-{file.stem}": ["--values", file] for file in DISTRIBUTIONS}
    copies = "prometheus.rules.enabled=true,grafana.dashboards.enabled=true,grafana.dashboards.folder=nodewhy"
    return chosen | {"everything": ["--values", GOLDEN / "everything.values.yaml", "--set", copies]}


def printed(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
