"""JSON schemas of Kubernetes objects, as kubeconform reads them: made from Kubernetes' own definitions and from the
CustomResourceDefinitions of operators. A field that they do not know is an error."""
import json
import os
import pathlib
import subprocess

import yaml

DEFINITIONS = pathlib.Path(os.environ.get("DEFINITIONS", ""))
VERSIONS = sorted(file.stem.removeprefix("kubernetes-") for file in DEFINITIONS.glob("kubernetes-*.json"))


def write(folder, kinds):
    """The schemas of these kinds: folder/<version>/ for Kubernetes' own, folder/crds/ for the rest."""
    for version in VERSIONS:
        definitions = json.loads((DEFINITIONS / f"kubernetes-{version}.json").read_text())["definitions"]
        for name, definition in definitions.items():
            for kind in definition.get("x-kubernetes-group-version-kind", []):
                if kind["kind"] in kinds:
                    save(folder / version, kind["group"], kind["version"], kind["kind"],
                         {"$ref": f"#/definitions/{name}", "definitions": reached(name, definitions)})
    for file in (DEFINITIONS / "crds").glob("*.yaml"):
        for crd in yaml.safe_load_all(file.read_text()):
            spec = crd["spec"]
            for version in spec["versions"]:
                save(folder / "crds", spec["group"], version["name"], spec["names"]["kind"], closed(version["schema"]["openAPIV3Schema"]))


def save(folder, group, version, kind, schema):
    """Where kubeconform looks: the core's objects have no group, and it takes their version for one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind.lower()}_{group or version}_{version}.json").write_text(json.dumps(schema))


def closed(schema):
    """The same without room for other fields; and what Kubernetes adds to JSON schema in words that JSON schema has."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {name: closed(value) for name, value in schema.items()}
    if schema.get("nullable") and "type" in schema:
        made["type"] = [schema["type"], "null"]
    if isinstance(schema.get("properties"), dict):
        open_ended = {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "additionalProperties"}
        if schema.get("type") == "object" and not any(schema.get(name) for name in open_ended):
            made["additionalProperties"] = False
    return made


def reached(name, definitions):
    """The definitions that `name` needs, itself among them."""
    found, left = {}, [name]
    while left:
        here = left.pop()
        if here not in found:
            found[here] = closed(definitions[here])
            left += references(definitions[here])
    return found


def references(schema):
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "$ref" and isinstance(value, str):
                yield value.removeprefix("#/definitions/")
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from references(item)


def complaints(folder, text, version):
    """What kubeconform says against the objects in `text`, one line each, and how many it found to be right."""
    file = "{{ .ResourceKind }}_{{ .Group }}_{{ .ResourceAPIVersion }}.json"
    done = subprocess.run(
        ["kubeconform", "-strict", "-output=json", "-summary", f"-schema-location={folder}/{version}/{file}", f"-schema-location={folder}/crds/{file}"],
        input=text, capture_output=True, text=True)
    said = json.loads(done.stdout)
    found = [f"{r['kind']} {r['name']}: {r['msg']}" for r in said.get("resources", []) if r["status"] != "statusValid"]
    return found, said["summary"]["valid"]
