"""However an application is configured: its worker has keys of its own, can be drained, and fetches what it can run."""

import ast
from dataclasses import replace
from typing import Any

import pytest

from tests.agent.environments import TODAY, VERSIONS
from tests.agent.rig import Rig
from tests.agent.shapes import full
from tests.agent.worker import APP, Spec

pytestmark = pytest.mark.agent

TREE = ast.parse((APP / "settings_ways.py").read_text())
WAYS = [
    node.name
    for node in TREE.body
    if isinstance(node, ast.FunctionDef) and any(getattr(each, "id", "") == "way" for each in node.decorator_list)
]
NOWHERE = "redis://127.0.0.1:1/0"
URLS = {
    "several": "{url};{url}",
    "first-is-down": f"{NOWHERE};{{url}}",
}
NO_VARIABLES = dict.fromkeys(("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"), "")
SHORT = {"broker_transport_options": {"visibility_timeout": 5}}
QUICK = {
    ("django", "5.3", "prefork"),
    ("django", "5.6-today", "prefork"),
    ("worker_init_after_the_agent", "5.3", "threads"),
    ("consumer_bootstep", "5.7", "prefork"),
    ("application_class_for_reading", "5.7", "threads"),
}


def _cells() -> list[Any]:
    return [
        pytest.param(
            Spec(version, pool, slots=1, app="settings_ways", variables={"SETTINGS_WAY": way}, config=SHORT),
            id=f"{way}-{version}-{pool}",
            marks=() if (way, version, pool) in QUICK else full,
        )
        for way in WAYS
        for version in ((*VERSIONS, *TODAY) if "django" in way else VERSIONS)
        for pool in ("prefork", "threads")
    ]


@pytest.mark.parametrize("spec", _cells())
def test_own_keys_drain_and_prefetch_hold(rig: Rig, spec: Spec) -> None:
    _everything_holds(rig, spec)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("version", [pytest.param(each, marks=() if each == "5.6" else full) for each in VERSIONS])
@pytest.mark.parametrize("how", [pytest.param(each, marks=full) for each in ("b", "setting", *URLS)])
def test_whatever_names_the_broker(rig: Rig, how: str, version: str, pool: str) -> None:
    spec = Spec(version, pool, slots=1, config=SHORT)
    if how == "b":
        spec = replace(spec, variables=NO_VARIABLES, before=("-b", rig.server.celery_url))
    elif how == "setting":
        spec = replace(spec, variables=NO_VARIABLES, config={**SHORT, "broker_url": rig.server.celery_url})
    else:
        spec = replace(spec, variables=dict.fromkeys(NO_VARIABLES, URLS[how].format(url=rig.server.celery_url)))
    _everything_holds(rig, spec)


@pytest.mark.parametrize("version", [pytest.param(each, marks=() if each == "5.6" else full) for each in VERSIONS])
def test_a_worker_keeps_to_the_options_of_its_start_over_a_reconnect(rig: Rig, version: str) -> None:
    variables = {"SETTINGS_WAY": "changed_while_it_runs"}
    [worker] = rig.start(Spec(version, "threads", slots=1, app="settings_ways", variables=variables, config=SHORT))
    rig.send("before")
    rig.settle()
    process = (worker.report() or {})["process"]
    rig.client.client_kill_filter(_type="normal", skipme=True)
    rig.send("after")
    rig.settle()
    rig.send("later", countdown=3600)
    rig.wait_for(lambda: rig.held(worker) == ["later"], "it holds it in its own keys")
    report = worker.fresh()
    assert (report["process"], report["visibilityTimeout"], report["prefix"]) == (process, 5, rig.prefix)
    assert [key for key in rig.client.scan_iter("mall:*") if "unacked" in str(key)] == []


def _everything_holds(rig: Rig, spec: Spec) -> None:
    """Own keys, drain and prefetch in one start of a worker: a running task, one for later, and two that wait."""
    rig.send("later", countdown=3600)
    rig.send("first", "second", "third", args=[3])
    [worker] = rig.pods(spec)
    worker.start()
    worker.ready()
    rig.running("first")
    report = worker.wait_for(lambda report: report["active"] == 1 and report["scheduled"] == 1, "it runs one")
    assert set(report["capabilities"]) == {"inflight", "drain", "exact"}, report
    assert (report["errors"], report["visibilityTimeout"]) == (0, 5)
    assert rig.queue() == ["second", "third"]
    assert rig.held(worker) == ["later"]
    assert not rig.client.exists(f"{rig.prefix}unacked")
    rig.drain(worker)
    assert rig.queue() == ["later", "second", "third"]
