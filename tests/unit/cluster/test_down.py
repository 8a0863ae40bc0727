"""Cleaning up after a cluster whose owner was killed, while the next one of the same name may be there already."""

import json
import os
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.sandbox import Init, Sandbox

pytestmark = pytest.mark.unit


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """What a killed owner left: its folder, and the record of a first process that has ended."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    left = Cluster("unit-test-of-down")
    left.directory.mkdir(parents=True)
    (left.directory / "generation").write_text("first")
    (left.directory / "sandbox.json").write_text(json.dumps({"pid": os.getpid(), "started": 1}))
    return left


def test_a_late_guard_leaves_the_next_cluster_of_the_name_alone(cluster: Cluster) -> None:
    (cluster.directory / "generation").write_text("second")
    cluster.down(generation="first")
    assert cluster.directory.exists()


def test_a_guard_removes_what_its_own_cluster_left(cluster: Cluster) -> None:
    cluster.down(generation="first")
    assert not cluster.directory.exists()


def test_a_process_that_only_has_the_number_of_the_first_one_is_not_killed(cluster: Cluster) -> None:
    assert Init.of(os.getpid()).alive()
    assert not cluster.running()
    cluster.down()  # would end this very test run
    assert not cluster.directory.exists()


def test_down_may_be_repeated(cluster: Cluster) -> None:
    cluster.down()
    cluster.down()


def test_a_state_folder_that_the_node_would_not_see_is_refused() -> None:
    with pytest.raises(ClusterError, match="XDG_STATE_HOME"):
        Sandbox("x", Path("/var/lib/someone/clusters/x"))


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 33, "../up"])
def test_a_name_that_is_no_label_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="lower-case"):
        Cluster(name)
