"""kustomize as kubectl has it, and a GitOps tool's way to apply, on a real API server."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds
from tests.integration.kstatus import verdict

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "gitops" / "kustomize"


def built(control_plane: ControlPlane, folder: Path) -> dict[str, Any]:
    """By kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(control_plane.kubectl("kustomize", str(folder)))}


def test_images_generators_and_prefixes_reach_into_a_pool(control_plane: ControlPlane) -> None:
    found = built(control_plane, EXAMPLE)
    pool = found["CeleryWorkerPool"]
    spec = pool["spec"]
    assert pool["metadata"]["name"] == "eu-reports"
    assert spec["image"] == "registry.example/app:1.4"
    assert spec["template"]["spec"]["sidecars"][0]["image"] == "mirror.example/proxy:7"
    assert spec["template"]["metadata"]["labels"] == {"team": "shop"}
    secret, settings = found["Secret"]["metadata"]["name"], found["ConfigMap"]["metadata"]["name"]
    assert secret.startswith("eu-broker-")
    assert spec["broker"]["urlFrom"]["secretKeyRef"] == {"name": secret, "key": "url"}
    assert spec["template"]["spec"]["envFrom"] == [{"configMapRef": {"name": settings}}]


def test_without_the_configuration_none_of_this_reaches_the_pool(control_plane: ControlPlane, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "plain")
    file = tmp_path / "plain" / "kustomization.yaml"
    file.write_text(file.read_text().replace("configurations: [celeryworkerpool.yaml]\n", ""))
    spec = built(control_plane, tmp_path / "plain")["CeleryWorkerPool"]["spec"]
    assert (spec["image"], spec["broker"]["urlFrom"]["secretKeyRef"]["name"]) == ("registry.example/app", "broker")


def applied(control_plane: ControlPlane, manifests: str, how: tuple[str, ...], get: tuple[str, ...]) -> str:
    control_plane.kubectl(*how, stdin=manifests)
    return control_plane.kubectl(*get)


def test_what_a_gitops_tool_applies_twice_stays_as_it_is_and_is_in_progress_until_an_operator_has_seen_it(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Flux applies on the server's side, compares by a dry run, and judges by kstatus; -1 is the CRD's own default."""
    install_crds(control_plane)
    manifests = control_plane.kubectl("kustomize", str(EXAMPLE))
    how = ("apply", "--server-side", "--field-manager=kustomize-controller", f"-n{namespace}", "-f", "-")
    get = ("get", "cwp", "eu-reports", f"-n{namespace}", "-oyaml")
    first, second, third = (yaml.safe_load(applied(control_plane, manifests, how, get)) for _ in range(3))
    # With the second write the API server stores the defaults that it has told of before.
    assert {**first, "metadata": None} == {**second, "metadata": None}
    assert second["metadata"]["generation"] == 1
    assert second["metadata"]["resourceVersion"] == third["metadata"]["resourceVersion"]
    assert first["status"] == {"observedGeneration": -1}
    assert verdict(first) == "InProgress"
    # A backup is restored with the status that it was taken with: the API server lets it in and begins anew.
    control_plane.kubectl("delete", "cwp", "eu-reports", f"-n{namespace}")
    restored = {**first, "metadata": {"name": "eu-reports"}, "status": {"observedGeneration": 7, "replicas": 3}}
    control_plane.kubectl("create", f"-n{namespace}", "-f", "-", stdin=yaml.safe_dump(restored))
    assert yaml.safe_load(control_plane.kubectl(*get))["status"] == {"observedGeneration": -1}
