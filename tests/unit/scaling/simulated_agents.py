"""A Celery pool whose workers report and drain, in virtual time; `learn`, `decide` and `plan` do the scaling.

As measured of Celery on Redis with the agent: ETA tasks are pulled at once and held; a marked worker takes nothing new,
gives back what it has not started and ends what it runs. The ReplicaSet's choice is that of Kubernetes, ties broken at
random; it must never meet a worker that holds anything.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count, pairwise

from celeriac.scaling.decide import decide, fresh_history, record_change
from celeriac.scaling.decision import History
from celeriac.scaling.learning import Learned, Sample, learn
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Policy
from celeriac.scaling.workload import MARKED_COST, RELEASED_COST, Demand, Pod, Workload
from tests.unit.scaling.simulated_pool import Task

TICK = 0.5


@dataclass
class Worker:
    """`running`: (start, end) of each task."""

    uid: str
    created: float
    ready_at: float
    running: list[tuple[float, float]] = field(default_factory=list)
    held: list[Task] = field(default_factory=list)
    cost: int = 0
    marked: bool = False
    processed: int = 0
    busy: float = 0.0

    @property
    def drained(self) -> bool:
        return self.marked and not self.running and not self.held


@dataclass
class AgentSimulation:
    """`lateness`: seconds between the moment at which each task was due and its start."""

    policy: Policy
    tasks: Iterable[Task]
    cold_start: float = 4.0
    learned: Learned = field(default_factory=Learned)
    now: float = 0.0
    workers: list[Worker] = field(default_factory=list)
    queue: list[Task] = field(default_factory=list)
    replicas: list[int] = field(default_factory=lambda: [0])
    marks: Counter[str] = field(default_factory=Counter)
    lateness: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    history: History = field(default_factory=lambda: fresh_history(0, 0.0))
    _uids: Iterable[int] = field(default_factory=count)
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    def run(self, seconds: float) -> "AgentSimulation":
        pending = sorted(self.tasks)
        while self.now < seconds:
            while pending and pending[0].sent <= self.now:
                self.queue.append(pending.pop(0))
            for worker in self.workers:
                self._work(worker)
            self._scale()
            self.replicas.append(len(self.workers))
            self.now += TICK
        return self

    @property
    def reversals(self) -> int:
        """How often the replicas turned from growing to shrinking or back."""
        steps = [after - before for before, after in pairwise(self.replicas) if after != before]
        return sum((a > 0) != (b > 0) for a, b in pairwise(steps))

    def at(self, second: float) -> int:
        """The replicas at that moment."""
        return self.replicas[int(second / TICK)]

    def _work(self, worker: Worker) -> None:
        worker.busy += len(worker.running) * TICK
        ended = [task for task in worker.running if task[1] <= self.now]
        worker.processed += len(ended)
        worker.running = [task for task in worker.running if task not in ended]
        if worker.ready_at > self.now:
            return
        if worker.marked:
            self.queue[:0], worker.held = worker.held, []
            return
        ahead = [task for task in self.queue if task.eta > self.now]
        worker.held += ahead
        self.queue = [task for task in self.queue if task not in ahead]
        for source in (worker.held, self.queue):
            for task in [task for task in source if task.eta <= self.now]:
                if len(worker.running) < self.policy.slots:
                    source.remove(task)
                    worker.running.append((self.now, self.now + task.runtime))
                    self.lateness.append(self.now - max(task.sent, task.eta))

    def _demand(self) -> Demand:
        ahead = [task.eta - self.now for task in self.queue if task.eta > self.now]
        waiting = len(self.queue) - len(ahead)
        running = sum(len(worker.running) for worker in self.workers)
        counters = {worker.uid: (worker.processed, worker.busy) for worker in self.workers}
        started = {worker.uid: worker.ready_at <= self.now for worker in self.workers}
        self.learned = learn(self.learned, Sample(self.now, waiting, waiting + running, counters, started))
        return Demand(
            waiting=waiting,
            running=running,
            current_replicas=len(self.workers),
            scheduled=sum(len(worker.held) for worker in self.workers),
            deferred=len(ahead),
            next_eta_seconds=min(ahead, default=None),
            agent=True,
            arrival_rate=self.learned.arrival_rate,
            runtime_seconds=self.learned.runtime_seconds,
            cold_start_seconds=self.learned.cold_start_seconds,
        )

    def _pod(self, worker: Worker) -> Pod:
        ready = worker.ready_at <= self.now
        return Pod(
            uid=worker.uid,
            name=worker.uid,
            assigned=True,
            phase="Running" if ready else "Pending",
            ready=ready,
            cost=worker.cost,
            marked=worker.marked,
            drained=ready and worker.drained,
            started=ready,
            running=len(worker.running),
            created=worker.created,
        )

    def _scale(self) -> None:
        demand, current = self._demand(), len(self.workers)
        decision = decide(self.policy, demand, self.history, self.now)
        workload = Workload(current, pods=tuple(self._pod(worker) for worker in self.workers), agent=True)
        done = plan(self.policy, decision, demand, workload)
        self.history = decision.history
        self.reasons.append(done.reason)
        for worker in self.workers:
            if worker.uid in done.drain:
                worker.marked, worker.cost = True, MARKED_COST
                self.marks[worker.uid] += 1
            elif worker.uid in done.undrain:
                worker.marked, worker.cost = False, 0
            elif worker.uid in done.release:
                worker.cost = RELEASED_COST
        if done.replicas is None:
            return
        self.history = record_change(self.history, self.now, done.replicas - current)
        while len(self.workers) < done.replicas:
            uid = f"pod-{next(iter(self._uids))}"
            self.workers.append(Worker(uid, self.now, self.now + self.cold_start))
        self._stop(current - done.replicas)

    def _stop(self, number: int) -> None:
        self._chance.shuffle(self.workers)
        self.workers.sort(key=lambda worker: (worker.ready_at <= self.now, worker.cost))
        for worker in self.workers[: max(0, number)]:
            assert not worker.running, "a worker was stopped with a task"
            assert not worker.held, "a worker was stopped with an ETA task"
            self.workers.remove(worker)
