"""Which pods of a rollout are old, how long new ones have had no room, and how an old ReplicaSet is made smaller."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from celeriac.api.authority import Authority
from celeriac.autoscaling.rollout_view import LET_GO_SECONDS, RolloutView
from celeriac.autoscaling.rollouts import FAILED_SECONDS, READ_SECONDS, RolloutReader, is_rolling, retire
from celeriac.cluster.errors import Conflict, Forbidden
from celeriac.cluster.records import DeploymentRecord
from celeriac.cluster.replica_sets import ReplicaSetRecord
from celeriac.scaling.decision import Retirement
from celeriac.scaling.workload import Pod
from celeriac.workers.observer import Observer
from tests.unit.builders.workers import KEY, pod

pytestmark = pytest.mark.unit

DEPLOYMENT = DeploymentRecord(KEY, "d", 3, 3, spec_replicas=2, replicas=3, ready=2, updated=1, revision="2")
OLD = ReplicaSetRecord("rs-1", "ml-1", "d", "1", 2, 2, True, "10")
NEW = ReplicaSetRecord("rs-2", "ml-2", "d", "2", 1, 1, True, "11")
SETS = {"rs-1": OLD, "rs-2": NEW}
RECORDS = [pod("a"), pod("b"), pod("c", replica_set="rs-2", ready=False, node=None, phase="Pending", unplaced=True)]


def seen(records: list[Any]) -> tuple[Pod, ...]:
    return Observer().observe(records, {}, {}, 1, 0.0).pods()


def test_the_new_pods_are_those_of_the_replica_set_with_the_deployments_revision() -> None:
    rollout = RolloutView().look(DEPLOYMENT, SETS, RECORDS, seen(RECORDS), (), 100.0)
    assert rollout is not None
    assert (rollout.current, rollout.sizes, rollout.peak) == ("rs-2", {"rs-1": 2, "rs-2": 1}, 2)


@pytest.mark.parametrize(
    "deployment",
    [
        *(replace(DEPLOYMENT, generation=4), replace(DEPLOYMENT, revision="3"), replace(DEPLOYMENT, revision="")),
        replace(DEPLOYMENT, paused=True),
    ],
)
def test_nobody_is_old_before_the_controller_has_seen_the_template_or_while_it_is_paused(
    deployment: DeploymentRecord,
) -> None:
    assert RolloutView().look(deployment, SETS, RECORDS, seen(RECORDS), (), 100.0) is None


def test_pods_that_no_replica_set_counts_are_no_rollout() -> None:
    """One that was evicted stays for days, with the ReplicaSet of an earlier template for its owner."""
    still = replace(DEPLOYMENT, replicas=2, updated=2)
    left = pod("c", replica_set="rs-0", phase="Failed", evicted=True)
    assert not is_rolling(still, [*RECORDS[:2], left, pod("d", replica_set=None), pod("e", terminating=True)])
    assert is_rolling(still, [*RECORDS[:2], replace(left, phase="Running")])


def test_a_pod_of_a_replica_set_that_was_not_read_yet_makes_all_unknown() -> None:
    assert RolloutView().look(DEPLOYMENT, {"rs-2": NEW}, RECORDS, seen(RECORDS), (), 100.0) is None


def test_a_lack_of_room_lasts_until_none_was_seen_for_some_seconds() -> None:
    view, placed = RolloutView(), [*RECORDS[:2], replace(RECORDS[2], unplaced=False)]

    def lacking(records: list[Any], now: float) -> float | None:
        rollout = view.look(DEPLOYMENT, SETS, records, seen(records), (), now)
        assert rollout is not None
        return rollout.lacking_seconds

    assert [lacking(RECORDS, now) for now in (100.0, 104.0)] == [0.0, 4.0]
    assert lacking(placed, 105.0) == 5.0
    assert lacking(RECORDS, 106.0) == 6.0
    assert lacking(placed, 106.0 + LET_GO_SECONDS) is None


def test_pods_that_a_full_quota_refuses_are_counted_as_lacking() -> None:
    sets, full = {"rs-1": OLD, "rs-2": replace(NEW, replicas=3)}, replace(DEPLOYMENT, full_quota=True)
    rollout = RolloutView().look(full, sets, RECORDS, seen(RECORDS), (), 100.0)
    assert rollout is not None
    assert rollout.refused == 2


class Server:
    """One ReplicaSet, and the ways in which it may not be had."""

    def __init__(self, record: ReplicaSetRecord, error: Exception | None = None) -> None:
        self.record = record
        self.error = error
        self.lists = 0
        self.patches: list[Mapping[str, Any]] = []

    def body(self) -> dict[str, Any]:
        each = self.record
        owner = {"uid": each.deployment, "controller": True}
        metadata = {"uid": each.uid, "name": each.name, "resourceVersion": each.resource_version, "generation": 2}
        metadata |= {"annotations": {"deployment.kubernetes.io/revision": each.revision}, "ownerReferences": [owner]}
        status = {"replicas": each.existing, "observedGeneration": 2 if each.settled else 1}
        return {"metadata": metadata, "spec": {"replicas": each.replicas}, "status": status}

    async def list_all(self, *_: Any) -> list[dict[str, Any]]:
        self.lists += 1
        if self.error is not None:
            raise self.error
        return [self.body()]

    async def read(self, *_: Any) -> dict[str, Any]:
        return self.body()

    async def merge_patch(self, *arguments: Any, **_: Any) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.patches.append(arguments[3])
        return {}


PLANNED = Retirement("rs-1", 2, 1, 2, "1 old worker goes")
LEADS = Authority(lambda: True, lambda: True)


async def test_an_old_replica_set_is_made_smaller_in_the_version_that_was_read() -> None:
    server = Server(OLD)
    assert await retire(server, LEADS, KEY, "ml-1", PLANNED)
    assert server.patches == [{"metadata": {"resourceVersion": "10"}, "spec": {"replicas": 1}}]


@pytest.mark.parametrize(
    "record",
    [
        replace(OLD, uid="rs-9"),
        replace(OLD, replicas=1),
        replace(OLD, existing=3),
        replace(OLD, settled=False),
    ],
)
async def test_one_that_is_not_what_the_plan_assumed_stays(record: ReplicaSetRecord) -> None:
    server = Server(record)
    assert not await retire(server, LEADS, KEY, "ml-1", PLANNED)
    assert server.patches == []


async def test_a_change_in_between_or_another_leader_is_left_to_the_next_tick() -> None:
    assert not await retire(Server(OLD, Conflict(409, "Conflict", "changed")), LEADS, KEY, "ml-1", PLANNED)
    follower = Authority(lambda: False, lambda: True)
    assert not await retire(Server(OLD), follower, KEY, "ml-1", PLANNED)


async def test_replica_sets_are_read_only_where_a_rollout_needs_help_and_now_and_then() -> None:
    now = 0.0
    server = Server(OLD)
    reader = RolloutReader(server, lambda: now)
    settled = replace(DEPLOYMENT, replicas=2, updated=2)
    assert reader.of(settled, RECORDS[:2], shrinks=True) is None
    assert reader.of(DEPLOYMENT, RECORDS[:2], shrinks=False) is None, "it goes on by itself"
    await asyncio.sleep(0)
    assert server.lists == 0
    assert reader.of(DEPLOYMENT, RECORDS, shrinks=False) is None
    await reader.settle()
    assert reader.of(DEPLOYMENT, RECORDS, shrinks=False) == {"rs-1": OLD}
    assert server.lists == 1
    now = READ_SECONDS
    reader.of(DEPLOYMENT, RECORDS, shrinks=False)
    await reader.settle()
    assert server.lists == 2


async def test_a_missing_permission_leaves_the_rollout_to_kubernetes(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    server = Server(OLD, Forbidden(403, "Forbidden", "cannot list replicasets"))
    reader = RolloutReader(server, lambda: clock[0])
    for clock[0] in (0.0, READ_SECONDS, FAILED_SECONDS):
        assert reader.of(DEPLOYMENT, RECORDS, shrinks=False) is None
        await reader.settle()
    assert server.lists == 2
    assert "its rollout cannot be helped on" in caplog.text
