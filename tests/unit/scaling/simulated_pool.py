"""A Celery pool in virtual time: tasks arrive, pods start slowly, slots run tasks, `decide` and `plan` do the scaling.

It obeys what was measured of Celery on Redis: ETA tasks are pulled at once and held by the workers; a pod that is
stopped takes nothing new, ends what it runs and is no capacity meanwhile.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from celeriac.scaling.decide import decide, fresh_history, record_change
from celeriac.scaling.decision import History
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Policy
from celeriac.scaling.workload import Demand, Workload


@dataclass(frozen=True, order=True)
class Task:
    """Sent at `sent` seconds, runs for `runtime` seconds, not before `eta`."""

    sent: float
    runtime: float
    eta: float = 0.0


@dataclass
class Pod:
    ready_at: float
    ends: list[float] = field(default_factory=list)


@dataclass
class Simulation:
    """`hold` True: `plan` decides when to shrink (as without an agent); False: `decide` alone, idle pods go first."""

    policy: Policy
    tasks: Iterable[Task]
    hold: bool
    runtime_known: bool
    cold_start: float = 3.0
    tick: float = 1.0
    now: float = 0.0
    pods: list[Pod] = field(default_factory=list)
    stopping: list[Pod] = field(default_factory=list)
    waiting: deque[Task] = field(default_factory=deque)
    held_for_eta: list[tuple[float, Task]] = field(default_factory=list)
    replicas: list[int] = field(default_factory=lambda: [0])
    backlog: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    rate: float = 0.0
    history: History = field(default_factory=lambda: fresh_history(0, 0.0))
    _runtimes: deque[float] = field(default_factory=lambda: deque(maxlen=20))

    def run(self, seconds: float) -> "Simulation":
        pending = deque(sorted(self.tasks))
        while self.now < seconds:
            arrived = 0
            while pending and pending[0].sent <= self.now:
                self.waiting.append(pending.popleft())
                arrived += 1
            self.rate += (arrived / self.tick - self.rate) * self.tick / 30
            self._work()
            self._scale()
            self.replicas.append(len(self.pods))
            self.backlog.append(len(self.waiting))
            self.now += self.tick
        return self

    @property
    def reversals(self) -> int:
        """How often the replicas turned from growing to shrinking or back."""
        steps = [after - before for before, after in pairwise(self.replicas) if after != before]
        return sum((a > 0) != (b > 0) for a, b in pairwise(steps))

    def _work(self) -> None:
        for pod in (*self.pods, *self.stopping):
            pod.ends = [end for end in pod.ends if end > self.now]
        self.stopping = [pod for pod in self.stopping if pod.ends]
        ready = [pod for pod in self.pods if pod.ready_at <= self.now]
        while self.held_for_eta and self.held_for_eta[0][0] <= self.now:
            self.waiting.appendleft(heapq.heappop(self.held_for_eta)[1])
        if ready and any(task.eta > self.now for task in self.waiting):
            for task in [task for task in self.waiting if task.eta > self.now]:
                self.waiting.remove(task)
                heapq.heappush(self.held_for_eta, (task.eta, task))
        for pod in ready:
            while self.waiting and len(pod.ends) < self.policy.slots:
                task = self.waiting.popleft()
                self.waits.append(self.now - max(task.sent, task.eta))
                self._runtimes.append(task.runtime)
                pod.ends.append(self.now + task.runtime)

    def _scale(self) -> None:
        current = len(self.pods)
        known = self.runtime_known and len(self._runtimes) >= 5
        demand = Demand(
            waiting=sum(task.eta <= self.now for task in self.waiting),
            running=sum(len(pod.ends) for pod in (*self.pods, *self.stopping)),
            current_replicas=current,
            scheduled=len(self.held_for_eta),
            arrival_rate=self.rate,
            runtime_seconds=sum(self._runtimes) / len(self._runtimes) if known else None,
            cold_start_seconds=self.cold_start,
        )
        decision = decide(self.policy, demand, self.history, self.now)
        self.history = decision.history
        wanted: int | None = decision.replicas
        if self.hold:
            wanted = plan(self.policy, decision, demand, Workload(current)).replicas
        if wanted is None or wanted == current:
            return
        self.history = record_change(self.history, self.now, wanted - current)
        while len(self.pods) < wanted:
            self.pods.append(Pod(ready_at=self.now + self.cold_start))
        self.pods.sort(key=lambda pod: -len(pod.ends))
        while len(self.pods) > wanted:
            self.stopping.append(self.pods.pop())
