"""Whatever is missing in Celery or kombu, the worker works, the ledger stays clean, and the report says so."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from celeriac_agent import hooks

from tests.agent.environments import NEWEST, OLDEST
from tests.agent.rig import Rig
from tests.agent.shapes import param
from tests.agent.worker import AGENT, POOLS, Spec

pytestmark = pytest.mark.agent

IN_THE_QUICK_FORM = {"qos": "gevent"}


def _cases() -> list[Any]:
    return [
        pytest.param(
            hook,
            Spec(version, pool, prefetch=4, variables={"CELERIAC_AGENT_WITHOUT": hook}),
            id=f"{hook}-{version}-{pool}",
            marks=() if version == NEWEST and IN_THE_QUICK_FORM.get(hook) == pool else pytest.mark.full,
        )
        for hook in hooks.HOOKS
        for version in (OLDEST, NEWEST)
        for pool in POOLS
    ]


@pytest.mark.parametrize(("hook", "spec"), _cases())
def test_without_one_hook(rig: Rig, hook: str, spec: Spec) -> None:
    spec = Spec(**{**spec.__dict__, "config": {"broker_transport_options": {"visibility_timeout": 1234}}})
    first, second = rig.start(spec, spec)
    report = first.wait_for(lambda report: report["state"] == "consuming", "it consumes")
    assert hook in report["missing"]
    expected = {"inflight": hooks.INFLIGHT, "drain": hooks.DRAIN | {"orphans"}, "exact": hooks.EXACT}
    missing = set(report["missing"])
    assert set(report["capabilities"]) == {name for name, needed in expected.items() if not needed & missing}

    rig.send("later", countdown=8)
    rig.wait_for(lambda: _holders(rig), "somebody holds it")
    keys = {str(key) for key in rig.client.scan_iter("shop:unacked*")}
    own = {f"shop:unacked.{(pod.report() or {})['process']}" for pod in (first, second)}
    if "inflight" in report["capabilities"]:
        assert keys & own
        assert not keys & {"shop:unacked", "shop:unacked_index"}
    else:
        assert keys == {"shop:unacked", "shop:unacked_index"}
        assert rig.processes() == {}

    tasks = [f"t{number:02}" for number in range(12)]
    rig.send(*tasks, args=[0.5])
    rig.wait_for(lambda: rig.ledger.running(), "some run")
    if "drain" in report["capabilities"]:
        rig.scale_down(first)
    else:
        rig.mark(first)
        rig.wait_for(lambda: len(rig.ledger.ended()) >= 8, "it goes on whatever the mark")
        assert first.fresh()["state"] == "consuming"
        first.terminate()
    rig.settle()
    assert rig.account().problems == {}


def _holders(rig: Rig) -> bool:
    return any(rig.client.hlen(str(key)) for key in rig.client.scan_iter("shop:unacked*", _type="hash"))


@pytest.mark.full
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_part_that_cannot_be_imported_leaves_a_plain_worker_whose_log_says_so(
    rig: Rig, tmp_path: Path, version: str
) -> None:
    shutil.copytree(AGENT / "celeriac_agent", tmp_path / "broken" / "celeriac_agent")
    (tmp_path / "broken" / "celeriac_agent" / "gate.py").write_text("import a_module_that_no_image_has")
    variables = {"PYTHONPATH": str(tmp_path / "broken"), "CELERIAC_POOL_UID": rig.pool_uid}
    plain = Spec(version, "prefork", agent=False, variables=variables, arguments=("-I", "celeriac_agent"))
    [worker] = rig.start(plain)
    rig.send("a", "b", "c")
    rig.settle()
    assert "Celeriac's agent could not start (ModuleNotFoundError)" in worker.log_file.read_text()
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", [param(Spec(NEWEST, pool), quick=pool == "prefork") for pool in POOLS])
def test_an_agent_that_cannot_start_leaves_a_plain_worker(rig: Rig, spec: Spec) -> None:
    everything = ",".join(hooks.HOOKS)
    rig.start(Spec(spec.version, spec.pool, variables={"CELERIAC_AGENT_WITHOUT": everything}))
    rig.send("a", "b", "c")
    rig.settle()
    assert rig.account().problems == {}
