"""What a pool's status says in each situation, and what kstatus and `kubectl wait` make of it (docs/status.md)."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.argo import health
from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds
from tests.integration.kstatus import verdict
from tests.integration.status_rows import ROWS, Row, When
from tests.integration.status_scene import WAITS, Scene, conditions, holds

pytestmark = [pytest.mark.integration, pytest.mark.full]

IN_ARGO_CD = {"Current": "Healthy", "InProgress": "Progressing", "Failed": "Degraded", "Terminating": "Progressing"}


@pytest.fixture(scope="module")
def scene(control_plane: ControlPlane) -> Iterator[Scene]:
    """All situations beside each other, seen once."""
    install_crds(control_plane)
    with ExitStack() as stack:
        scene = Scene(control_plane, "situations", stack)
        scene.play()
        yield scene


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.pool}-{row.when.value}" for row in ROWS])
def test_the_status_says_what_is_so(scene: Scene, row: Row) -> None:
    body = scene.seen[row]
    told = conditions(body)
    assert holds(row, body), (told, row.conditions)
    assert verdict(body) == verdict(body, looks_at_ready=False) == row.verdict
    assert health(body)["status"] == IN_ARGO_CD[row.verdict]
    messages = {each["type"]: each["message"] for each in body["status"].get("conditions", ())}
    assert row.words in messages.get("ScalingLimited" if row.limited else "Ready", "")
    is_seen = body["status"]["observedGeneration"] == body["metadata"]["generation"]
    for wait in WAITS:
        type_, _, wanted = wait.partition("=")
        passes = is_seen and told.get(type_, "").startswith(wanted or "True")
        assert scene.waited.get((row, wait), passes) == passes, wait


def test_each_condition_says_of_which_generation_it_speaks(scene: Scene) -> None:
    for row, body in scene.seen.items():
        status = body["status"]
        told = {each["observedGeneration"] for each in status.get("conditions", ())}
        assert told <= {status["observedGeneration"]}, row
        lags = row.pool in ("unseen", "leaving") or row.when is When.ALONE
        assert lags == (status["observedGeneration"] != body["metadata"]["generation"]), row


@pytest.mark.parametrize("pool", ["rollout", "misled"])
def test_from_the_change_of_a_spec_to_what_follows_of_it_nobody_takes_the_pool_for_done(
    scene: Scene, pool: str
) -> None:
    assert {judged for judged, _ in scene.changing[pool]} == {"InProgress"}
    assert any(ready for _, ready in scene.changing[pool]) == (pool == "rollout")  # its old pods work
