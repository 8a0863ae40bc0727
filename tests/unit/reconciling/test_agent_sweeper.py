"""Which ConfigMaps with agents are removed: those that nobody uses, at the second look."""

from typing import Any

import pytest

from celeriac.cluster.agent_config import AgentName, AgentRecord
from celeriac.cluster.records import DeploymentRecord
from celeriac.reconciling.agent_sweeper import LISTS_AGAIN, Sweep, used
from celeriac.watching.store import KnownPool
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
