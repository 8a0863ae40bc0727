"""kustomize's configuration knows every place in which a pool names another object."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
CONFIGURATION = yaml.safe_load((ROOT / "gitops" / "kustomize" / "celeryworkerpool.yaml").read_text())
REFERENCES = {
    "secretKeyRef": "Secret",
    "secretRef": "Secret",
    "configMapKeyRef": "ConfigMap",
    "configMapRef": "ConfigMap",
}
OPAQUE = {
    "env/valueFrom": (("Secret", "secretKeyRef/name"), ("ConfigMap", "configMapKeyRef/name")),
    "volumes/secret": (("Secret", "secretName"),),
    "volumes/configMap": (("ConfigMap", "name"),),
    "volumes/persistentVolumeClaim": (("PersistentVolumeClaim", "claimName"),),
    "projected/sources": (("Secret", "secret/name"), ("ConfigMap", "configMap/name")),
}
"""What Kubernetes has where the CRD says nothing more."""
CONTAINERS = ("initContainers", "sidecars")
IN_CONTAINERS = (*OPAQUE["env/valueFrom"], ("Secret", "secretRef/name"), ("ConfigMap", "configMapRef/name"))


def spec_schema() -> Any:
    [version] = yaml.safe_load((ROOT / "crds" / "celeryworkerpools.yaml").read_text())["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]


def references(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Kind and path of each name of another object, as kustomize writes paths."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}/{name}"
        if name in REFERENCES:
            yield REFERENCES[name], f"{here}/name"
        elif name == "imagePullSecrets":
            yield "Secret", f"{here}/name"
        elif name in ("serviceAccountName", "priorityClassName"):
            yield ("ServiceAccount" if name == "serviceAccountName" else "PriorityClass"), here
        elif name in CONTAINERS:
            for kind, rest in IN_CONTAINERS:
                yield kind, f"{here}/{'envFrom' if 'KeyRef' not in rest else 'env/valueFrom'}/{rest}"
        else:
            for kind, rest in next((found for end, found in OPAQUE.items() if here.endswith(end)), ()):
                yield kind, f"{here}/{rest}"
            yield from references(field.get("items", field), here)


def test_every_name_of_another_object_is_in_the_configuration_and_no_other() -> None:
    known = {
        (reference["kind"], field["path"])
        for reference in CONFIGURATION["nameReference"]
        for field in reference["fieldSpecs"]
        if field["kind"] == "CeleryWorkerPool"
    }
    assert known == set(references(spec_schema(), "spec"))


def test_every_path_of_a_plain_field_exists() -> None:
    paths = [each["path"] for part in ("images", "templateLabels", "varReference") for each in CONFIGURATION[part]]
    assert len(paths) > 5
    for path in paths:
        schema = {"properties": {"spec": spec_schema()}}
        for name in path.split("/"):
            field = schema["properties"][name.removesuffix("[]")]
            schema = field.get("items", field)
