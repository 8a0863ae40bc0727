"""What the pinned Go modules say is what is built."""

from pathlib import Path

import pytest

from tests.cluster import tools
from tests.cluster.errors import ClusterError
from tests.cluster.tools import FILES, FOLDERS, PINS, Pin

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", FOLDERS)
def test_every_program_is_pinned_to_an_exact_version(name: str) -> None:
    pin = Pin(FOLDERS[name])
    assert pin.packages[name].endswith(f"/{name}")
    assert pin.version.startswith("v")
    assert pin.output.name == f"{FOLDERS[name]}-{pin.version}"
    assert f"{pin.packages[name].split('/cmd/')[0]} {pin.version}/go.mod" in (pin.folder / "go.sum").read_text()


@pytest.mark.parametrize("folder", FILES)
def test_a_module_of_files_is_pinned_with_its_own_sum_and_not_with_what_it_requires(folder: str) -> None:
    pin = Pin(folder)
    sums = [line.rsplit(" ", 1)[0] for line in (pin.folder / "go.sum").read_text().splitlines()]
    assert sums == [f"{pin.module} {pin.version}", f"{pin.module} {pin.version}/go.mod"]


def test_every_pinned_folder_has_a_program_or_files() -> None:
    assert {path.parent.name for path in PINS.glob("*/go.mod")} == {*FOLDERS.values(), *FILES}


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
