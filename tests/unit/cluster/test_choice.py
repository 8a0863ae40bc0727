"""Which cluster the demo and the e2e tests run on."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.cluster import choose as module
from tests.cluster.choose import Choice, Machine, choose, target
from tests.cluster.cli import programs_for
from tests.cluster.cluster import PROGRAMS, Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.images import REDIS, Image
from tests.cluster.target import KIND_CONFIG, KindCluster

pytestmark = pytest.mark.unit


def test_a_cluster_that_the_user_names_comes_before_everything() -> None:
    assert choose(Machine(named=Path("/k"), docker=True)) is Choice.NAMED


def test_kind_comes_before_a_node_of_our_own() -> None:
    assert choose(Machine(docker=True)) is Choice.KIND


def test_without_docker_root_on_linux_gets_a_node_of_our_own() -> None:
    assert choose(Machine()) is Choice.OWN


def test_a_mac_without_docker_is_told_to_start_docker_and_not_to_become_root() -> None:
    with pytest.raises(ClusterError, match="start Docker") as refused:
        choose(Machine(linux=False, root=False))
    assert "CELERIAC_KUBECONFIG" in str(refused.value)
    assert "root" not in str(refused.value)


def test_an_ordinary_user_on_linux_is_told_every_cure() -> None:
    with pytest.raises(ClusterError) as refused:
        choose(Machine(root=False, missing=("containerd", "runc")))
    message = str(refused.value)
    assert "as root" in message
    assert "install-packages" in message
    assert "containerd, runc" in message


def test_kubeconfig_alone_names_no_cluster_for_it_may_be_one_that_people_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/production")
    monkeypatch.delenv(module.VARIABLE, raising=False)
    assert Machine.this().named is None
    monkeypatch.setenv(module.VARIABLE, "/mine")
    assert Machine.this().named == Path("/mine")


def test_a_named_cluster_is_used_as_it_is_and_told_which_images_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    monkeypatch.setenv(module.VARIABLE, str(kubeconfig))
    with target() as cluster:
        cluster.provide(Image("worker:1", tmp_path / "Dockerfile"))
        assert cluster.kubeconfig == kubeconfig
    assert "must have the image worker:1" in capsys.readouterr().err


def test_a_named_cluster_that_is_one_of_our_own_can_be_given_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    kubeconfig = Cluster("dev").kubeconfig
    kubeconfig.parent.mkdir(parents=True)
    monkeypatch.setenv(module.VARIABLE, str(kubeconfig))
    with target() as cluster:
        assert isinstance(cluster, Cluster)
        assert cluster.name == "dev"


def test_a_kubeconfig_that_is_not_there_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ClusterError, match=r"nowhere.*CELERIAC_KUBECONFIG"), target():
        pass


def test_a_user_with_docker_is_asked_neither_for_root_nor_for_a_nodes_programs() -> None:
    machine = Machine(docker=True, root=False, missing=("containerd", "mmdebstrap"))
    assert not machine.shall_be_node
    control_plane = ("kube-apiserver", "kube-controller-manager", "kubectl")
    assert programs_for(machine) == (*control_plane, "helm", "actionlint", "kind")


def test_root_without_docker_gets_the_packages_first_and_then_the_programs_of_a_node() -> None:
    assert Machine(missing=("containerd",)).shall_be_node
    assert {"kubelet", "coredns"} <= set(programs_for(Machine()))
    assert "kubelet" not in programs_for(Machine(missing=("containerd",)))


def test_root_with_docker_and_all_programs_can_still_test_a_node_of_our_own() -> None:
    machine = Machine(docker=True)
    assert machine.can_be_node
    assert {"kind", "kubelet"} <= set(programs_for(machine))


@pytest.mark.parametrize("machine", [Machine(named=Path("/k")), Machine(docker=True), Machine(root=False)])
def test_packages_of_a_node_are_installed_only_where_it_is_what_tests_run_on(machine: Machine) -> None:
    assert not machine.shall_be_node


def test_a_package_is_named_for_each_program_that_a_node_needs() -> None:
    text = (Path(module.__file__).with_name("install-packages")).read_text()
    assert [program for program in PROGRAMS if not re.search(rf"^  {program} \S+$", text, re.MULTILINE)] == []


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs named docker and kind that write down how they are called; kind knows no cluster."""
    programs = tmp_path / "programs"
    programs.mkdir()
    record = tmp_path / "calls"
    for name in ("docker", "kind"):
        script = 'import json, sys; print(json.dumps(sys.argv[2:]), file=open(sys.argv[1], "a"))'
        program = programs / name
        command = shlex.join((sys.executable, "-ISc", script, str(record), name))
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(module.VARIABLE, raising=False)
    return record


def test_kind_is_made_from_the_config_builds_with_docker_and_goes_again(calls: Path, tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    with target("shop") as cluster:
        assert isinstance(cluster, KindCluster)
        cluster.provide(Image("worker:1", dockerfile, tmp_path, {"EXTRA": "gevent"}))
        cluster.provide(REDIS)
        kubeconfig = f"--kubeconfig={cluster.kubeconfig}"
    called = list(map(json.loads, calls.read_text().splitlines()))
    secrets = [word for word in called[4] if word.startswith("--secret=id=pip")]
    assert secrets, "the build uses pip's settings of this machine"
    called[4] = [word for word in called[4] if word not in secrets]
    assert called == [
        ["docker", "info"],
        ["docker", "info"],
        ["kind", "get", "clusters"],
        ["kind", "create", "cluster", "--name=shop", f"--config={KIND_CONFIG}", kubeconfig, "--wait=180s"],
        ["docker", "build", "--tag=worker:1", f"--file={dockerfile}", "--build-arg=EXTRA=gevent", str(tmp_path)],
        ["kind", "load", "docker-image", "worker:1", "--name=shop"],
        ["kind", "delete", "cluster", "--name=shop", kubeconfig],
    ]
    assert not cluster.directory.exists()
