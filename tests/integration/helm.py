"""Helm and the chart on a control plane: fixtures for the tests of the chart."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import tools
from tests.cluster.control_plane import ControlPlane

CHART = Path(__file__).parents[2] / "charts" / "celeriac"
CRD = "celeryworkerpools.celeriac.dev"
CRDS = (CRD, "celerypoolrequests.celeriac.dev")
RELEASE = "celeriac"
SYSTEM = "celeriac-system"

IMAGE: dict[str, Any] = {"image": {"repository": "registry.example/celeriac"}}
"""What no installation can do without."""

Install = Callable[[dict[str, Any]], str]
"""Installs the chart with values and returns what Helm says."""


def folders(home: Path) -> dict[str, str]:
    """The variables by which Helm keeps to a folder of its own."""
    return {f"HELM_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")}


@dataclass(frozen=True)
class Helm:
    """Helm as the administrator of one control plane, with folders of its own."""

    control_plane: ControlPlane
    home: Path

    def try_run(self, *arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(tools.binary("helm")), f"--kubeconfig={self.control_plane.kubeconfig}", *arguments]
        if values is not None:
            command += ["--values", "-"]
        return subprocess.run(
            command,
            input=yaml.safe_dump(values or {}),
            env=os.environ | folders(self.home),
            capture_output=True,
            text=True,
        )

    def run(self, *arguments: str, values: dict[str, Any] | None = None) -> str:
        done = self.try_run(*arguments, values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def template(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        options = (f"--namespace={SYSTEM}", "--kube-version=1.34.4")
        text = self.run("template", RELEASE, str(CHART), *options, values=IMAGE | values)
        return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


@pytest.fixture(scope="module")
def chart_cluster(control_plane: ControlPlane) -> ControlPlane:
    """The control plane without our CRDs, which the chart owns here; every other module puts it back for itself."""
    control_plane.kubectl("delete", "crd", *CRDS, "--ignore-not-found")
    names = (SYSTEM, "shop", "billing", "other")
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]
    control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(namespaces))
    return control_plane


@pytest.fixture(scope="module")
def helm(chart_cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(chart_cluster, tmp_path_factory.mktemp("helm"))


@pytest.fixture
def install(helm: Helm) -> Iterator[Install]:
    """Installs the chart with values; whatever is left afterwards is removed, the CRDs too."""

    def do(values: dict[str, Any]) -> str:
        return helm.run("install", RELEASE, str(CHART), f"--namespace={SYSTEM}", values=IMAGE | values)

    yield do
    helm.try_run("uninstall", RELEASE, f"--namespace={SYSTEM}", "--ignore-not-found")
    helm.control_plane.kubectl("delete", "crd", *CRDS, "--ignore-not-found")
