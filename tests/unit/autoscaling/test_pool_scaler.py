"""One pool from reading to plan, in virtual time: no event loop, no clock, no cluster and no broker."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celeriac.api.reasons import Reason
from celeriac.autoscaling.demand import queues_of
from celeriac.autoscaling.pool_scaler import PoolScaler, Seed
from celeriac.autoscaling.sight import Sight, Step
from celeriac.brokers.agents import STOP, WorkerReport
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import PoolReading, QueueReading
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.layouts import layout_fields
from celeriac.pool.model import QueueLayout, WorkerPool
from celeriac.scaling.policy import Fallback, Policy, TasksPerSlotTarget
from celeriac.scaling.workload import Demand
from celeriac.workers.observer import DEAF_SECONDS
from tests.unit.builders.pools import pool
from tests.unit.builders.workers import KEY, pod, report

pytestmark = pytest.mark.unit

TICK = 0.5
AWAY = BrokerDoubt(Reason.BROKER_CONNECTION_FAILED, "Redis at redis:6379 cannot be reached")


class Life:
    """A pool of solo workers with their Deployment, Pods and reports, which obeys each step at once."""

    def __init__(self, seed: Seed | None = None, *, replicas: int = 0, **policy: Any) -> None:
        self.now = 1000.0
        target = TasksPerSlotTarget(1)
        self.pool: WorkerPool = pool(policy=Policy(slots=1, max_replicas=100, target=target, **policy))
        self.scaler = PoolScaler(KEY, self.pool.uid, seed or Seed(), self.now)
        self.replicas, self.waiting, self.dead = replicas, 0, 0
        self.doubt: BrokerDoubt | None = None
        self.unresolved = False
        self.pods: dict[str, PodRecord] = {f"p{n}": pod(f"p{n}") for n in range(replicas)}
        self.reports: dict[str, WorkerReport] = {uid: report(uid, slots=1) for uid in self.pods}
        self.marks: dict[str, str] = {}

    @property
    def deployment(self) -> DeploymentRecord:
        counts = self.replicas
        return DeploymentRecord(KEY, "d", 1, 1, counts, counts, counts, counts, controller_uid=self.pool.uid)

    def tick(self, **sight: Any) -> Step:
        """One tick later."""
        self.now += TICK
        for uid, each in self.reports.items():
            self.reports[uid] = replace(each, counter=each.counter + 1)
        seen: dict[str, Any] = {"deployment": self.deployment, "pods": list(self.pods.values())}
        queues = {"celery": QueueReading(self.waiting, dead=self.dead)}
        reading = PoolReading(queues, reports=self.reports, marks=self.marks)
        given = {**seen, "unresolved": self.unresolved, **sight}
        return self.scaler.step(Sight(self.pool, self.doubt or reading, **given), self.now)

    def obey(self, step: Step) -> Step:
        """Do what the step wants: replicas change at once, a marked worker drains at once."""
        for each in step.marking.to_mark:
            self.marks[each.uid] = f"token-{each.uid}"
            self.pods[each.uid] = replace(each, drain_token=f"token-{each.uid}", deletion_cost=-1000)
            if not self.reports[each.uid].active:
                self.reports[each.uid] = replace(self.reports[each.uid], state="drained", token=f"token-{each.uid}")
        if step.change is not None:
            for number in range(self.replicas, step.change.after):
                self.pods[f"p{number}"] = pod(f"p{number}")
                self.reports[f"p{number}"] = report(f"p{number}", slots=1)
            for uid in sorted(self.pods, key=lambda uid: self.pods[uid].deletion_cost)[: max(0, -step.change.pods)]:
                del self.pods[uid], self.reports[uid]
                self.marks.pop(uid, None)
            self.replicas = step.change.after
            self.scaler.scaled(step.change.pods, self.now)
        return step

    def live(self, seconds: float) -> list[Step]:
        """Obey every step for so long."""
        return [self.obey(self.tick()) for _ in range(round(seconds / TICK))]


def test_a_task_wakes_a_pool_from_zero_and_it_goes_back_when_nothing_is_left_to_do() -> None:
    life = Life(scale_to_zero_after_seconds=30)
    life.waiting = 3
    step = life.obey(life.tick())
    assert step.change is not None
    assert (step.change.before, step.change.after) == (0, 3)
    life.waiting = 0
    life.live(200)
    assert life.replicas == 0
    assert life.scaler.outcome is not None
    assert life.scaler.outcome.reason == Reason.IDLE


def test_a_busy_worker_is_marked_and_not_taken_and_an_idle_one_goes_first() -> None:
    life = Life(replicas=3)
    life.reports["p0"] = replace(life.reports["p0"], active=1)
    life.reports["p1"] = replace(life.reports["p1"], active=1)
    life.live(120)
    assert "p0" in life.pods
    assert "p1" in life.pods
    assert "p2" not in life.pods, "the idle one"
    life.reports["p1"] = replace(life.reports["p1"], active=0)
    life.live(120)
    assert set(life.pods) == {"p0"}


def test_pods_stuck_in_terminating_keep_no_replica_of_an_idle_pool() -> None:
    life = Life(replicas=6)
    for uid in ("x", "y", "z"):
        life.pods[uid] = pod(uid, terminating=True, deletion_cost=1)
        life.reports[uid] = report(uid, slots=1, active=1)
    steps = life.live(600)
    last = steps[-1].outcome
    assert last is not None
    assert last.decision.replicas == 0
    assert isinstance(last.demand, Demand)
    assert (last.demand.running, last.demand.ending) == (0, 3)
    assert [each.pod for each in last.stuck] == ["ml-x", "ml-y", "ml-z"]


def test_a_worker_that_has_not_heard_sigterm_is_told_to_stop_once_and_an_event_says_so() -> None:
    life = Life(replicas=2)
    life.pods["p1"] = replace(life.pods["p1"], terminating=True, drain_token="t1")
    life.marks["p1"] = "t1"
    steps = [life.tick() for _ in range(round((DEAF_SECONDS + 5) / TICK))]
    asking = [step for step in steps if step.marking.stop]
    assert asking
    assert {pod.uid for step in asking for pod in step.marking.stop} == {"p1"}
    [notice] = [notice for step in steps for notice in step.notices]
    assert (notice.reason, notice.type) == (Reason.SIGNAL_LOST, "Warning")
    assert "the worker of ml-p1, 10 s after" in notice.message

    life.pods["p1"] = replace(life.pods["p1"], drain_token=f"{STOP}2")
    life.marks["p1"] = f"{STOP}2"
    assert not any(life.tick().marking for _ in range(20)), "it was told"


def test_a_new_leader_does_not_shrink_a_pool_before_its_windows_have_passed() -> None:
    life = Life(replicas=5)
    steps = life.live(59)
    assert [step.change for step in steps if step.change] == []
    life.live(60)
    assert life.replicas < 5


def test_a_new_leader_goes_on_counting_idleness_for_as_long_as_the_status_says() -> None:
    seed = Seed.of({"idleSeconds": 150, "taskRuntimeSeconds": 2.5, "coldStartSeconds": 4.0})
    assert (seed.learned.runtime_seconds, seed.learned.cold_start_seconds) == (2.5, 4.0)
    told = [Life(each, replicas=1, scale_to_zero_after_seconds=300).live(20)[-1].outcome for each in (seed, Seed())]
    assert [(each.idle_seconds, each.idle_before) for each in told if each] == [(170, True), (20 - TICK, True)]


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_a_new_leader_whose_clock_is_an_hour_off_goes_to_zero_neither_at_once_nor_an_hour_late(hours: int) -> None:
    """What the last one wrote when the pool had been idle for 200 s of 300; how late it is, no clock tells."""
    began = datetime(2030, 1, 1, hours + 12, tzinfo=UTC) - timedelta(seconds=200)
    status = {"idleSince": began.strftime("%Y-%m-%dT%H:%M:%SZ"), "idleSeconds": 150}
    life = Life(Seed.of(status), replicas=1, scale_to_zero_after_seconds=300)
    life.live(140)
    assert life.replicas == 1
    life.live(70)
    assert life.replicas == 0


def test_replicas_hold_while_the_broker_is_away_and_fall_back_when_that_was_asked_for() -> None:
    life = Life(replicas=4, fallback=Fallback(after_seconds=60, replicas=7))
    life.live(5)
    life.doubt = AWAY
    first = life.tick()
    assert first.is_news
    assert life.scaler.doubt is AWAY
    assert not life.tick().is_news, "the same doubt is told once"
    assert [step.change for step in life.live(57) if step.change] == []
    life.live(5)
    assert life.replicas == 7


def test_the_time_without_a_broker_begins_anew_after_a_reading() -> None:
    life = Life(replicas=4, fallback=Fallback(after_seconds=60, replicas=7))
    for _ in range(3):
        life.doubt = AWAY
        assert [step.change for step in life.live(50) if step.change] == []
        life.doubt = None
        assert life.tick().is_news


def test_nothing_is_marked_while_the_broker_is_away() -> None:
    life = Life(replicas=3)
    life.pods["p0"] = replace(life.pods["p0"], drain_token="t")
    life.doubt = AWAY
    assert not life.tick().marking


def test_a_deployment_of_somebody_else_is_none_and_what_was_learned_outlives_it() -> None:
    life = Life(replicas=3)
    life.live(10)
    idle = life.tick().outcome
    foreign = life.tick(deployment=replace(life.deployment, controller_uid="another"))
    assert (foreign.outcome, foreign.change, bool(foreign.marking)) == (None, None, False)
    assert life.scaler.outcome is None
    back = life.tick().outcome
    assert idle is not None
    assert back is not None
    assert back.idle_seconds == (idle.idle_seconds or 0) + 2 * TICK


def test_a_pool_whose_gone_worker_may_hold_messages_never_goes_to_zero() -> None:
    life = Life(replicas=1, scale_to_zero_after_seconds=1)
    life.unresolved = True
    life.live(300)
    assert life.replicas == 1
    life.unresolved = False
    life.live(120)
    assert life.replicas == 0


def test_new_dead_letters_are_told_and_those_that_were_there_are_not() -> None:
    life = Life(replicas=1)
    life.dead = 4
    assert life.tick().dead == {}
    life.dead = 6
    assert life.tick().dead == {"celery": 2}
    life.dead = 1
    assert life.tick().dead == {}


def test_a_pod_that_is_gone_by_now_is_not_marked() -> None:
    life = Life(replicas=2)
    victims = [step.marking for step in (life.tick() for _ in range(300)) if step.marking.drain]
    assert victims
    assert not life.tick(pods=[]).marking


def test_what_workers_say_of_the_layout_is_read_from_then_on_told_once_and_outlives_zero_and_the_leader() -> None:
    said = QueueLayout(separator=":", priority_steps=tuple(range(10)))
    life = Life(replicas=1)
    life.reports["p0"] = replace(life.reports["p0"], layout=said)
    steps = life.live(2)
    notices = [notice for step in steps for notice in step.notices]
    assert [(notice.type, notice.reason) for notice in notices] == [("Normal", Reason.LAYOUT_LEARNED)]
    assert 'separator: ":" and prioritySteps: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]' in notices[0].message
    assert life.scaler.layout == said
    life.pods, life.reports = {}, {}
    assert (life.tick().notices, life.scaler.layout) == ((), said)
    status = {"learnedLayout": layout_fields(said)}
    assert PoolScaler(KEY, "pool", Seed.of(status), 0.0).layout == said
    assert queues_of(life.pool, life.scaler.layout).layout == said


def test_a_pool_whose_workers_are_refused_by_a_full_broker_is_told_and_gets_no_smaller() -> None:
    life = Life(replicas=2)
    life.reports["p0"] = replace(life.reports["p0"], refusal="OOM")
    last = life.live(600)[-1].outcome
    assert last is not None
    assert last.refusal is not None
    assert last.refusal.reason == Reason.BROKER_FULL
    assert last.decision.replicas == 2
    assert "no replica is removed" in last.decision.message
    life.reports["p0"] = replace(life.reports["p0"], refusal="")
    assert {step.outcome.decision.replicas for step in life.live(600) if step.outcome} >= {0}


def test_a_worker_that_fetches_nothing_is_found_and_told_at_once() -> None:
    life = Life(replicas=1, min_replicas=1)
    life.waiting = 1
    steps = life.live(60)
    told = [bool(step.outcome and step.outcome.responses and step.outcome.responses.not_fetching) for step in steps]
    first = told.index(True)
    assert steps[first].is_news
    assert not any(told[:first])
