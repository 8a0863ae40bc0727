"""Whatever the application has set, its workers start, say so in strict JSON, and strand nothing."""

import json
import math
from pathlib import Path

import pytest

from tests.agent.environments import NEWEST, OLDEST
from tests.agent.rig import Rig
from tests.agent.shapes import param
from tests.agent.worker import Spec
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.agent

ODD = {"visibility_timeout": math.inf, "priority_steps": [9, 0]}
"""Steps that are not sorted: kombu polls the list of step 0 only, and puts every message there."""
SPECS = [
    param(Spec(version, pool, True, prefetch=4), quick=(version, pool) == (NEWEST, "threads"))
    for version in (OLDEST, NEWEST)
    for pool in ("solo", "threads", "prefork", "gevent", "eventlet")
]


@pytest.mark.parametrize("spec", SPECS)
def test_what_a_worker_held_with_odd_settings_is_back_after_its_restart(
    server: RedisServer, tmp_path: Path, spec: Spec
) -> None:
    with Rig(server, tmp_path, config={"broker_transport_options": ODD}) as rig:
        [worker] = rig.start(spec)
        rig.send("a", args=[3600])
        rig.running("a")
        rig.send("urgent", priority=9, countdown=3600)
        if spec.pool != "solo":
            rig.wait_for(lambda: len(rig.held(worker)) == 2, "it holds both")
        report = worker.fresh() if spec.pool != "solo" else worker.wait_for(lambda one: one["active"], "it runs")
        assert set(report["capabilities"]) == {"inflight", "drain", "exact"}
        for name in ("processes", "reports"):
            [text] = rig.client.hvals(f"{rig.prefix}celeriac:{rig.pool_uid}:{name}")
            assert json.loads(str(text), parse_constant=_refused)["visibilityTimeout"] is None
        worker.kill()
        rig.mark(worker)
        worker.start()
        worker.wait_for(lambda report: report["state"] == "drained", "it has put back everything and waits")
        assert sorted(rig.queue()) == ["a", "urgent"]
        assert rig.queue(step=9) == []


@pytest.mark.parametrize("spec", SPECS)
def test_steps_that_only_kombu_could_name_leave_a_plain_worker(server: RedisServer, tmp_path: Path, spec: Spec) -> None:
    options = {"priority_steps": [0.0, 4.5], "visibility_timeout": 1234}
    with Rig(server, tmp_path, config={"broker_transport_options": options}) as rig:
        [worker] = rig.start(spec)
        rig.send("urgent", priority=9)
        rig.settle()
        report = worker.fresh()
        assert (report["capabilities"], report["missing"][-1]) == (["exact"], "transport-options")
        assert "could not use priority_steps that are not all whole numbers" in worker.log_file.read_text()
        assert rig.processes() == {}
        assert rig.account().problems == {}


@pytest.mark.full
@pytest.mark.parametrize("spec", SPECS)
def test_a_redis_that_is_to_keep_nothing_loses_nothing_that_waits(
    server: RedisServer, tmp_path: Path, spec: Spec
) -> None:
    """Without `ack_emulation` a message is in the worker's memory alone: nothing can be given back or restored."""
    with Rig(server, tmp_path, config={"broker_transport_options": {"ack_emulation": False}}) as rig:
        [worker] = rig.start(spec)
        tasks = [f"t{number:02}" for number in range(8)]
        rig.send(*tasks, args=[0.8])
        rig.mark(worker)
        rig.settle()
        report = worker.fresh()
        assert (report["capabilities"], report["missing"][-1], report["token"]) == (["exact"], "ack-emulation", None)
        assert "could not keep what this worker holds (ack_emulation is off)" in worker.log_file.read_text()
        assert rig.processes() == {}
        assert rig.account().problems == {}


def _refused(name: str) -> float:
    raise AssertionError(f"{name} is no JSON")
