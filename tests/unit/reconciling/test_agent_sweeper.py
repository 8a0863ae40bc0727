"""Which ConfigMaps with agents are removed: those that nobody uses, at the second look."""

import logging
from typing import Any, cast

import pytest

from celeriac.api.authority import Authority
from celeriac.cluster.agent_config import AgentConfigs, AgentName, AgentRecord
from celeriac.cluster.client import Api
from celeriac.cluster.errors import Forbidden, Unavailable
from celeriac.cluster.paths import CELERY_WORKER_POOLS, CONFIG_MAPS
from celeriac.cluster.records import DeploymentRecord
from celeriac.reconciling.agent_sweeper import LISTS_AGAIN, AgentSweeper, Sweep, used
from celeriac.resources.agent import agent_config_name, build_agent_config
from celeriac.watching.store import KnownPool, Store
from tests.unit.builders.api_server import ApiServer
from tests.unit.builders.workers import KEY, pod

pytestmark = pytest.mark.unit

CURRENT = AgentName("shop", "celeriac-agent-2")
OLD = AgentName("shop", "celeriac-agent-1")


def record(key: AgentName, uid: str = "u") -> AgentRecord:
    return AgentRecord(key, uid)


def known(deleting: bool = False, **spec: Any) -> KnownPool:
    metadata: dict[str, Any] = {"namespace": "shop", "name": "ml", "uid": "1"}
    if deleting:
        metadata["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    given = {"image": "app:1", "app": "app", "broker": {"url": "redis://redis:6379/0"}}
    return KnownPool.from_body({"metadata": metadata, "spec": given | spec})


def test_a_pool_uses_the_agent_that_its_next_template_mounts_unless_it_has_none() -> None:
    assert used([known()], [], [], CURRENT.name) == {CURRENT}
    assert used([known(agent="disabled")], [], [], CURRENT.name) == set()
    assert used([known(deleting=True)], [], [], CURRENT.name) == set()
    assert used([known(concurrency="wrong")], [], [], CURRENT.name) == {CURRENT}, "unknown is never nothing"


def test_what_a_pod_or_a_template_mounts_is_in_use_whatever_its_pool_says() -> None:
    template = DeploymentRecord(KEY, "d", 1, 1, 0, 0, 0, 0, agent=OLD.name)
    assert used([], [template], [pod(agent="celeriac-agent-0"), pod("b")], CURRENT.name) == {
        OLD,
        AgentName("shop", "celeriac-agent-0"),
    }


def test_an_agent_without_a_user_is_removed_at_the_second_look() -> None:
    sweep, listed = Sweep(), [record(OLD), record(CURRENT)]
    assert sweep.step(listed, {CURRENT}) == []
    assert sweep.step(listed, {CURRENT}) == [record(OLD)]
    assert sweep.step([record(CURRENT)], {CURRENT}) == []


def test_an_agent_that_was_made_for_a_pool_to_come_is_not_removed_before_its_deployment_is_there() -> None:
    sweep = Sweep()
    assert sweep.step([record(CURRENT)], set()) == []
    assert sweep.step([record(CURRENT)], {CURRENT}) == []
    assert sweep.step([record(CURRENT)], set()) == []


def test_one_that_was_deleted_and_made_anew_is_another() -> None:
    sweep = Sweep()
    sweep.step([record(OLD, "first")], set())
    assert sweep.step([record(OLD, "second")], set()) == []


def test_in_a_steady_state_nothing_is_listed_but_now_and_then() -> None:
    sweep = Sweep()
    lists = [look for look in range(1, 2 * LISTS_AGAIN + 1) if sweep.must_list({CURRENT})]
    assert lists == [1, LISTS_AGAIN, 2 * LISTS_AGAIN]
    assert sweep.must_list({OLD}), "the last user of the other is gone"
    sweep.step([record(CURRENT)], {OLD})
    assert sweep.must_list({OLD}), "there is one to be removed"


# The sweeper, on an API server in memory


def left_behind(server: ApiServer, *namespaces: str) -> str:
    """An agent of an earlier version in each namespace; the name that they all have."""
    files = {"__init__.py": "VERSION = 1\n"}
    for namespace in namespaces:
        server.put(CONFIG_MAPS, build_agent_config(namespace, files))
    return agent_config_name(files)


def a_sweeper(server: ApiServer, *namespaces: str, leads: bool = True, sees_all: bool = True) -> AgentSweeper:
    authority, store = Authority(lambda: leads, lambda: True), Store(changed=lambda key: None)
    configs = AgentConfigs(cast(Api, server))
    return AgentSweeper(configs, CURRENT.name, store, authority, namespaces, sees_all=sees_all)


async def look(sweeper: AgentSweeper, times: int) -> None:
    for _ in range(times):
        await sweeper.look()


async def test_one_that_must_not_be_removed_stands_in_the_way_of_no_other(caplog: pytest.LogCaptureFixture) -> None:
    server = ApiServer()
    name = left_behind(server, "guarded", "shop")
    server.refusals["delete", f"guarded/{name}"] = Forbidden(403, "Forbidden", "a policy says no")
    sweeper = a_sweeper(server)
    with caplog.at_level(logging.WARNING):
        await look(sweeper, 20)
    assert (server.has(CONFIG_MAPS, "guarded"), server.has(CONFIG_MAPS, "shop")) == ({name}, set())
    [told] = caplog.messages
    assert told.startswith("agents that nobody uses stay in the cluster for now: Forbidden: a policy says no")
    server.refusals.clear()
    await look(sweeper, 2)
    assert server.has(CONFIG_MAPS, "guarded") == set(), "soon after the policy is gone"


async def test_a_namespace_that_cannot_be_listed_keeps_no_other_waiting_and_has_its_turn_soon(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = ApiServer()
    name = left_behind(server, "away", "shop")
    server.refusals["list", "away"] = Unavailable(503, "ServiceUnavailable", "come again")
    sweeper = a_sweeper(server, "away", "shop")
    with caplog.at_level(logging.WARNING):
        await look(sweeper, 3)
    assert (server.has(CONFIG_MAPS, "away"), server.has(CONFIG_MAPS, "shop")) == ({name}, set())
    assert len(caplog.messages) == 1
    server.refusals.clear()
    await look(sweeper, 2)
    assert server.has(CONFIG_MAPS, "away") == set()


async def test_beside_a_pool_of_another_operator_an_agent_stays_as_that_one_may_be_about_to_mount_it() -> None:
    server = ApiServer()
    name = left_behind(server, "shared", "ours")
    server.put(CELERY_WORKER_POOLS, {"metadata": {"namespace": "shared", "name": "theirs"}})
    await look(a_sweeper(server, sees_all=False), 2)
    assert (server.has(CONFIG_MAPS, "shared"), server.has(CONFIG_MAPS, "ours")) == ({name}, set())


async def test_who_does_not_lead_removes_nothing_and_who_does_looks_twice() -> None:
    server = ApiServer()
    name = left_behind(server, "shop")
    await look(a_sweeper(server, leads=False), 3)
    assert server.asked == []
    leader = a_sweeper(server)
    await look(leader, 1)
    assert server.has(CONFIG_MAPS, "shop") == {name}
    await look(leader, 1)
    assert server.has(CONFIG_MAPS, "shop") == set()
