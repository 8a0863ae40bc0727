"""A rollout in virtual time: nodes with room for so many pods, and the controllers of Kubernetes as their sources say.

The Deployment controller is that of pkg/controller/deployment (rolling.go, sync.go), the choice of the ReplicaSet
controller that of removal_order, ties broken at random; the workers drain as the agent does. `plan` decides.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.autoscaling.rollout_view import RolloutView
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.cluster.replica_sets import ReplicaSetRecord
from celeriac.scaling.decision import Decision, Plan
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Policy
from celeriac.scaling.removal_order import rank
from celeriac.scaling.workload import MARKED_COST, RELEASED_COST, Demand, Pod, Workload
from celeriac.workers.stuck import StuckWatch

TICK = 0.5
KEY = PoolKey("shop", "ml")


@dataclass
class Worker:
    """One pod. `busy_until` is when its task ends; `ready_at` None: never; `lost`: it never ends."""

    uid: str
    replica_set: str
    created: float
    start_seconds: float | None
    placed: bool = False
    ready_at: float | None = None
    busy_until: float = 0.0
    ending: bool = False
    marked: bool = False
    cost: int = 0
    drainable: bool = True
    lost: bool = False

    def pod(self, now: float) -> Pod:
        ready = self.ready_at is not None and self.ready_at <= now
        running = int(self.busy_until > now)
        return Pod(
            uid=self.uid,
            name=self.uid,
            assigned=self.placed,
            phase="Running" if self.placed else "Pending",
            ready=ready,
            cost=self.cost,
            marked=self.marked,
            drained=self.marked and ready and not running and self.drainable,
            started=ready,
            running=running,
            drainable=self.drainable,
            created=self.created,
            replica_set=self.replica_set,
            unplaced=not self.placed,
        )


@dataclass
class RolloutSimulation:
    """`room`: pods that the nodes bear, ending ones included; `quota`: pods that may exist, likewise.

    wanted   what `decide` asks for at a moment
    demand   what there is to do at a moment; it leaves out what runs
    stopped  workers that Kubernetes stopped while they ran a task, and who wanted that: rollout, plan
    """

    policy: Policy
    replicas: int
    room: int = 10_000
    quota: int = 10_000
    start_seconds: float | None = 3.0
    agent: bool = True
    wanted: Callable[[float], int] | None = None
    waiting: int = 0
    now: float = 0.0
    workers: list[Worker] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    stopped: list[tuple[str, str]] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    fewest_at_work: int = 10_000
    _refused: dict[str, tuple[float, float]] = field(default_factory=dict)
    _known: dict[str, int] = field(default_factory=dict)
    _annotated: dict[str, tuple[int, int]] = field(default_factory=dict)
    _view: RolloutView = field(default_factory=RolloutView)
    _stuck: StuckWatch = field(default_factory=StuckWatch)
    _uids: "count[int]" = field(default_factory=count)
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        """All pods of the old template run; the new one has just been applied."""
        self.sizes = {"old": self.replicas, "new": 0}
        for _ in range(self.replicas):
            self.workers.append(Worker(f"old-{next(self._uids)}", "old", 0.0, 0.0, True, 0.0, drainable=self.agent))
        self._annotate()

    def busy(self, *seconds: float) -> "RolloutSimulation":
        """Give one task each to the first old workers."""
        for worker, each in zip(self.workers, seconds, strict=False):
            worker.busy_until = each
        return self

    def lose(self, number: int) -> None:
        """The node of the first old workers is gone: they are deleted, and neither they nor their room come free."""
        for worker in self.workers[:number]:
            worker.ending = worker.lost = True
            worker.busy_until = math.inf

    def run(self, seconds: float) -> "RolloutSimulation":
        until = self.now + seconds
        while self.now < until:
            self._kubelets()
            self._plan()
            self._deployment_controller()
            self._replica_sets("rollout")
            at_work = sum(pod.ready and not pod.marked for pod in self.pods())
            self.fewest_at_work = min(self.fewest_at_work, at_work)
            self.now += TICK
        return self

    def until_done(self, seconds: float) -> float:
        """Run until all pods are of the new template and ready; returns when that was."""
        begun = self.now
        while not self.done:
            assert self.now - begun < seconds, self.pods()
            self.run(TICK)
        return self.now - begun

    @property
    def done(self) -> bool:
        new = [pod for pod in self.pods() if pod.replica_set == "new"]
        return not self.sizes["old"] and len(self.pods()) == len(new) and sum(p.ready for p in new) == self.replicas

    def pods(self) -> tuple[Pod, ...]:
        return tuple(worker.pod(self.now) for worker in self.workers if not worker.ending)

    def count(self, replica_set: str) -> int:
        return sum(pod.replica_set == replica_set for pod in self.pods())

    def _kubelets(self) -> None:
        self.workers = [each for each in self.workers if not (each.ending and each.busy_until <= self.now)]
        taken = sum(worker.placed for worker in self.workers)
        for worker in self.workers:
            if not worker.placed and not worker.ending and taken < self.room:
                worker.placed, taken = True, taken + 1
                worker.ready_at = None if worker.start_seconds is None else self.now + worker.start_seconds

    def _plan(self) -> None:
        pods = self.pods()
        sets = {
            uid: ReplicaSetRecord(uid, uid, "d", "2" if uid == "new" else "1", size, 0, True, "1")
            for uid, size in self.sizes.items()
        }
        refused = self.sizes["new"] > self.count("new")
        deployment = DeploymentRecord(
            *(KEY, "d", 1, 1, self.replicas, len(pods)),
            ready=0,
            updated=self.count("new"),
            full_quota=refused,
            revision="2",
        )
        records = [self._record(worker) for worker in self.workers]
        stuck = self._stuck.look(records, None, self.now)
        rollout = self._view.look(deployment, sets, records, pods, stuck, self.now)
        running = sum(worker.busy_until > self.now for worker in self.workers)
        demand = Demand(self.waiting, running, self.replicas, agent=self.agent)
        wanted = self.replicas if self.wanted is None else self.wanted(self.now)
        workload = Workload(self.replicas, rollout is not None, pods, agent=self.agent, rollout=rollout)
        planned = plan(self.policy, Decision(wanted, Reason.BACKLOG, "the sentence"), demand, workload)
        self.plans.append(planned)
        self._carry_out(planned)

    def _record(self, worker: Worker) -> PodRecord:
        grace = 0.0 if worker.lost else math.inf
        return PodRecord(
            *(KEY, worker.uid, worker.uid, worker.ending, None),
            replica_set=worker.replica_set,
            running=worker.ending,
            grace_seconds=grace,
        )

    def _carry_out(self, planned: Plan) -> None:
        for worker in self.workers:
            if worker.uid in planned.drain:
                worker.marked, worker.cost = True, MARKED_COST
            if worker.uid in planned.undrain:
                worker.marked, worker.cost = False, 0
            if worker.uid in planned.release:
                worker.cost = RELEASED_COST
        if planned.retire is not None:
            assert self.count(planned.retire.replica_set) == planned.retire.existing
            self.sizes[planned.retire.replica_set] = planned.retire.after
            self._replica_sets("plan")
        if planned.replicas is not None:
            assert not (planned.drain or planned.release) or planned.replicas > self.replicas
            shrinks = planned.replicas < self.replicas
            self.replicas = planned.replicas
            self._deployment_controller()
            self._replica_sets("plan" if shrinks else "rollout")

    # Kubernetes

    def _deployment_controller(self) -> None:
        active = [each for each in self.sizes if self.sizes[each]]
        if any(self._annotated[each][0] != self.replicas for each in active):
            self._scale(active)
            self._annotate()
            return
        surge, unavailable = self.policy.strategy.surge(self.replicas), self.policy.strategy.unavailable(self.replicas)
        if self.sizes["new"] > self.replicas:
            self.sizes["new"] = self.replicas
        elif self.sizes["new"] < self.replicas and sum(self.sizes.values()) < self.replicas + surge:
            more = min(self.replicas + surge - sum(self.sizes.values()), self.replicas - self.sizes["new"])
            self.sizes["new"] += more
            self._annotate()
        else:
            self._stop_old(self.replicas - unavailable)

    def _stop_old(self, least: int) -> None:
        """reconcileOldReplicaSets, with cleanupUnhealthyReplicas and scaleDownOldReplicaSetsForRollingUpdate."""
        ready = {each: sum(p.ready for p in self.pods() if p.replica_set == each) for each in self.sizes}
        most = sum(self.sizes.values()) - least - (self.sizes["new"] - ready["new"])
        if most <= 0:
            return
        unhealthy = min(most, self.sizes["old"] - min(ready["old"], self.sizes["old"]))
        self.sizes["old"] -= unhealthy
        self.sizes["old"] -= max(0, min(self.sizes["old"], sum(ready.values()) - least))

    def _scale(self, active: list[str]) -> None:
        """In proportion (sync.go: scale), larger and older first where fewer are wanted."""
        if len(active) == 1:
            self.sizes[active[0]] = self.replicas
            return
        allowed = self.replicas + self.policy.strategy.surge(self.replicas) if self.replicas else 0
        change, changed = allowed - sum(self.sizes.values()), 0
        order = sorted(active, key=lambda each: (-self.sizes[each], (each == "old") == (change > 0)))
        after = {}
        for each in order:
            size = self.sizes[each]
            share = -size if not self.replicas else round(size * allowed / self._annotated[each][1]) - size
            left = change - changed
            share = 0 if change == 0 else min(share, left) if change > 0 else max(share, left)
            after[each], changed = size + share, changed + share
        after[order[0]] = max(0, after[order[0]] + change - changed)
        self.sizes |= after

    def _annotate(self) -> None:
        most = self.replicas + self.policy.strategy.surge(self.replicas)
        self._annotated = dict.fromkeys(self.sizes, (self.replicas, most))

    def _replica_sets(self, who: str) -> None:
        for each, size in self.sizes.items():
            mine = [worker for worker in self.workers if worker.replica_set == each and not worker.ending]
            changed, self._known[each] = self._known.get(each) != size, size
            if changed or self.now >= self._refused.get(each, (0.0, 0.0))[1]:
                self._create(each, size - len(mine))
            order = sorted(mine, key=lambda worker: (rank(worker.pod(self.now), worker.cost), self._chance.random()))
            for worker in order[: max(0, len(mine) - size)]:
                worker.ending = True
                if worker.busy_until > self.now:
                    self.stopped.append((worker.uid, who))

    def _create(self, replica_set: str, number: int) -> None:
        """What a quota refuses is tried again ever more rarely: the work queue doubles its pauses."""
        for _ in range(number):
            if len(self.workers) >= self.quota:
                since = self._refused.get(replica_set, (self.now, 0.0))[0]
                self._refused[replica_set] = since, self.now + max(TICK, self.now - since)
                return
            uid = f"{replica_set}-{next(self._uids)}"
            self.workers.append(Worker(uid, replica_set, self.now, self.start_seconds, drainable=self.agent))
        self._refused.pop(replica_set, None)
