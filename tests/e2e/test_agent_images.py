"""The agent in images as users have them: their code is found, and so is a signal that gets lost."""

from collections.abc import Iterator

import pytest

from tests.e2e.story import PATIENCE
from tests.e2e.system import System
from tests.ledger.cells import ODD_IMAGE
from tests.ledger.checker import Demand, judge
from tests.ledger.scene import Scene, scene

pytestmark = [pytest.mark.e2e, pytest.mark.full]

VENV = "/opt/shop/venv/bin"
LAUNCHERS = {
    "venv": [f"{VENV}/python"],
    "tini": ["/usr/bin/tini", "--", f"{VENV}/python"],
    "shell": ["sh", "/srv/shop/entrypoint.sh"],
}
"""One pool each: Python off PATH, tini as PID 1, a shell that starts Python as its child."""
ANY = Demand(ups=0, downs=0, loaded=0)


@pytest.fixture(scope="module")
def shop(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A Django project in a src layout, run by root; pools that differ in how Python is started, all with tasks."""
    system.cluster.provide(ODD_IMAGE)
    with scene(system.cluster, tmp_path_factory.mktemp("images") / "book.jsonl") as running:
        for name, launcher in LAUNCHERS.items():
            running.pool(name, image=ODD_IMAGE.tag, environment={}, app="proj", pool="prefork", concurrency=2,
                         queues=[name], launcher=launcher, drain={"timeoutSeconds": 20})  # fmt: skip
            running.send([6, 6, 0.1, 0.1], queue=name)
        assert running.wait_until_ended(PATIENCE)
        yield running


@pytest.mark.parametrize("name", ["venv", "tini"])
def test_a_django_project_in_a_src_layout_is_drained_to_zero(shop: Scene, name: str) -> None:
    shop.story.wait_for_zero(name)
    pods = [pod.name for pod in shop.story.witness.pods(name)]
    marked = {line.pod for line in shop.book.lines() if line.event == "marked"}
    assert marked >= set(pods), "without an agent in it no worker is drained"


def test_a_shell_that_keeps_signals_to_itself_is_told(shop: Scene) -> None:
    found = shop.story.kube.wait_for_event("shell", "SignalsNotForwarded", PATIENCE)
    assert "exec" in found["note"]


def test_none_of_them_lost_a_task_and_nothing_is_left(shop: Scene) -> None:
    for name in LAUNCHERS:
        shop.story.wait_for_zero(name)
    shop.close()
    assert judge(shop.book.lines(), ANY).problems == ()
