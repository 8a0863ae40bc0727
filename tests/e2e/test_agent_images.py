"""The agent in images as users have them: their code is found, and so is a signal that gets lost."""

from collections.abc import Iterator

import pytest

from tests.e2e.story import PATIENCE
from tests.e2e.system import System
from tests.integration.kube import POOLS
from tests.ledger.cells import ODD_IMAGE
from tests.ledger.checker import Demand, judge
from tests.ledger.scene import Scene, scene, unfinished

pytestmark = [pytest.mark.e2e, pytest.mark.full]

VENV = "/opt/shop/venv/bin"
LAUNCHERS = {
    "venv": [f"{VENV}/python"],
    "tini": ["/usr/bin/tini", "--", f"{VENV}/python"],
    "dumb-init": ["/usr/bin/dumb-init", "--", f"{VENV}/python"],
    "patient": ["sh", "/srv/shop/patient.sh", f"{VENV}/python"],
    "shell": ["sh", "/srv/shop/entrypoint.sh"],
}
"""One pool each: Python off PATH, two inits as PID 1, an entrypoint that waits, one that starts Python as its child."""
LONG = 30
"""Seconds of tasks that still run when their worker is told to end."""
ANOTHER_TEMPLATE = {"spec": {"template": {"metadata": {"annotations": {"shop.example/release": "2"}}}}}
ANY = Demand(ups=0, downs=0, loaded=0)


@pytest.fixture(scope="module")
def shop(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A Django project in a src layout, run by root; pools that differ in how Python is started, all with tasks."""
    system.cluster.provide(ODD_IMAGE)
    with scene(system.cluster, tmp_path_factory.mktemp("images") / "book.jsonl") as running:
        for name, launcher in LAUNCHERS.items():
            running.pool(name, image=ODD_IMAGE.tag, environment={}, app="proj", pool="prefork", concurrency=2,
                         queues=[name], launcher=launcher, drain={"timeoutSeconds": 60})  # fmt: skip
            running.send([6, 6, 0.1, 0.1], queue=name)
        long = set(running.send([LONG, LONG], queue="dumb-init"))
        assert running.book.wait(lambda lines: long <= unfinished(lines), PATIENCE)
        running.story.kube.patch(POOLS, "dumb-init", ANOTHER_TEMPLATE)
        assert running.wait_until_ended(PATIENCE)
        yield running


@pytest.mark.parametrize("name", ["venv", "tini", "patient"])
def test_a_django_project_in_a_src_layout_is_drained_to_zero(shop: Scene, name: str) -> None:
    shop.story.wait_for_zero(name)
    pods = [pod.name for pod in shop.story.witness.pods(name)]
    marked = {line.pod for line in shop.book.lines() if line.event == "marked"}
    assert marked >= set(pods), "without an agent in it no worker is drained"


def test_a_shell_that_keeps_signals_to_itself_is_told(shop: Scene) -> None:
    found = shop.story.kube.wait_for_event("shell", "SignalsNotForwarded", PATIENCE)
    assert "exec" in found["note"]


def test_an_init_that_signals_all_stops_no_task_in_a_rollout(shop: Scene) -> None:
    """Its tasks ran when the new template came; that they ended is part of the account below."""
    shop.story.wait_for_zero("dumb-init")
    templates = {pod.name.rsplit("-", 1)[0] for pod in shop.story.witness.pods("dumb-init")}
    assert len(templates) == 2


def test_an_entrypoint_that_waits_runs_once_for_each_start(shop: Scene) -> None:
    """Each Pod has one start only, or it would have been restarted; and what probes it is not the entrypoint."""
    described = shop.story.kubectl("get", "events", "--field-selector=reason=Unhealthy", "--output=yaml")
    assert "the shop is being prepared" not in described


def test_none_of_them_lost_a_task_and_nothing_is_left(shop: Scene) -> None:
    for name in LAUNCHERS:
        shop.story.wait_for_zero(name)
    shop.close()
    assert judge(shop.book.lines(), ANY).problems == ()
