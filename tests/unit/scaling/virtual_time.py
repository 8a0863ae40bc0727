"""A pool under a hand-driven clock: `decide` is asked, its answer is performed, time passes."""

from dataclasses import dataclass, field

from celeriac.scaling.decide import decide, record_change
from celeriac.scaling.decision import Decision, History
from celeriac.scaling.policy import (
    Behavior,
    Policy,
    PolicyType,
    RatePolicy,
    ScalingRules,
    SelectPolicy,
    TasksPerSlotTarget,
)
from celeriac.scaling.workload import Demand, Doubt


def pods(value: int, period_seconds: int) -> RatePolicy:
    return RatePolicy(PolicyType.PODS, value, period_seconds)


def percent(value: int, period_seconds: int) -> RatePolicy:
    return RatePolicy(PolicyType.PERCENT, value, period_seconds)


def rules(*policies: RatePolicy, window: int = 0, select: SelectPolicy = SelectPolicy.MAX) -> ScalingRules:
    """One direction of a `behavior`, without a tolerance; the window is 0 unless it is what a test is about."""
    return ScalingRules(window, tolerance=0.0, select_policy=select, policies=policies or None)


def one_task_per_replica(
    *,
    up: ScalingRules | None = None,
    down: ScalingRules | None = None,
    min_replicas: int = 0,
    max_replicas: int = 10_000,
) -> Policy:
    """A policy under which n running tasks recommend n replicas, so that a test can name recommendations."""
    behavior = Behavior(scale_up=up or rules(), scale_down=down or rules())
    target = TasksPerSlotTarget(1)
    return Policy(slots=1, min_replicas=min_replicas, max_replicas=max_replicas, target=target, behavior=behavior)


@dataclass
class DrivenPool:
    """Performs each decision at once, as if the Deployment obeyed."""

    policy: Policy
    replicas: int = 0
    now: float = 1000.0
    history: History = field(default_factory=History)

    def wait(self, seconds: float) -> "DrivenPool":
        self.now += seconds
        return self

    def recommend(self, replicas: int, *, runtime: float | None = 1.0) -> Decision:
        """Let demand recommend that many replicas (under `one_task_per_replica`)."""
        return self.see(Demand(waiting=0, running=replicas, current_replicas=self.replicas, runtime_seconds=runtime))

    def ask(self, demand: Demand | Doubt) -> Decision:
        """Decide, and perform nothing."""
        return decide(self.policy, demand, self.history, self.now)

    def see(self, demand: Demand | Doubt) -> Decision:
        decision = self.ask(demand)
        self.history = decision.history
        if decision.replicas != self.replicas:
            self.history = record_change(self.history, self.now, decision.replicas - self.replicas)
            self.replicas = decision.replicas
        return decision

    def follow(self, recommended: int, *, every: float, times: int) -> list[int]:
        """Recommend the same count again and again; return the replicas after each time."""
        counts = []
        for _ in range(times):
            counts.append(self.recommend(recommended).replicas)
            self.wait(every)
        return counts
