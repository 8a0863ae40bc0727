"""What the pinned Go modules say is what is built."""

from pathlib import Path

import pytest

from tests.cluster import tools
from tests.cluster.errors import ClusterError
from tests.cluster.tools import FOLDERS, PINS, Pin

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", FOLDERS)
def test_every_program_is_pinned_to_an_exact_version(name: str) -> None:
    pin = Pin(FOLDERS[name])
    assert pin.packages[name].endswith(f"/{name}")
    assert pin.version.startswith("v")
    assert pin.output.name == f"{FOLDERS[name]}-{pin.version}"
    assert f"{pin.packages[name].split('/cmd/')[0]} {pin.version}/go.mod" in (pin.folder / "go.sum").read_text()


def test_every_pinned_folder_has_a_program() -> None:
    assert {path.parent.name for path in PINS.glob("*/go.mod")} == set(FOLDERS.values())


def test_kubernetes_programs_know_their_version() -> None:
    command = Pin("kubernetes").build_command("go", ["kubelet"], Path("/out"))
    flags = command[command.index("-ldflags") + 1]
    version = Pin("kubernetes").version
    assert f"version.gitVersion={version}" in flags
    assert f"version.gitMinor={version.split('.')[1]}" in flags
    assert command[-2:] == ["/out/", "k8s.io/kubernetes/cmd/kubelet"]


def test_programs_of_kubebuilder_assets_are_used_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    for name in ("etcd", "kubectl"):
        (tmp_path / name).touch()
    assert tools.binary("kubectl") == tmp_path / "kubectl"
    assert tools.etcd() == tmp_path / "etcd"


def test_an_unknown_program_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ClusterError, match=r"'minikube'.*kubelet"):
        tools.binary("minikube")
