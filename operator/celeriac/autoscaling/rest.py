"""Which pools need no new decision: nothing of them has changed, and no clock runs that would change one.

These are pools that sleep at zero, those whose broker is in doubt, and those at zero whose change of replicas waits for
its turn: when thousands wake at once, each tick would come to thousands of decisions that wait already.
"""

from typing import Final, NamedTuple

from celeriac.autoscaling.sight import Sight, Step
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import PoolReading
from celeriac.scaling.edges import next_edge
from celeriac.scaling.workload import Demand

SLEEP_SECONDS: Final = 120.0
"""A pool that sleeps at zero takes a step this often in any case."""
DOUBT_SECONDS: Final = 2.0
"""The same for one whose broker is in doubt: its Pods come and go meanwhile."""
EDGE_SECONDS: Final = 0.5
"""The ticks around a moment of `next_edge` are all taken."""


class Left(NamedTuple):
    """What was seen, and the last moment at which all of it was still so."""

    sight: Sight
    until: float


class Rest:
    """Of a pool that may rest: what the last step saw, as long as it holds."""

    def __init__(self, sight: Sight | None = None, until: float = 0.0, *, waits: bool = False) -> None:
        """`until`: by then the clock alone may change what is decided. `waits`: it wants a change of its replicas."""
        self._sight = sight
        self._until = until
        self._waits = waits
        self._held_at: float | None = None

    @classmethod
    def after(cls, sight: Sight, step: Step, now: float) -> "Rest":
        """The rest after a step from which nothing came, or at most a change of the replicas."""
        outcome, waits = step.outcome, step.change is not None
        if outcome is None or not (step.wants_nothing or (waits and step.wants_at_most_a_change)):
            return cls()
        demand = outcome.demand
        if isinstance(demand, Demand) and not (
            _is_at_zero(sight) and (waits or _sleeps(sight, demand, outcome.decision.replicas))
        ):
            return cls()
        longest = SLEEP_SECONDS if isinstance(demand, Demand) else DOUBT_SECONDS
        edge = next_edge(sight.pool.policy, demand, outcome.decision.history, now) - EDGE_SECONDS
        return cls(sight, min(now + longest, edge), waits=waits)

    def holds(
        self, reading: PoolReading | BrokerDoubt, revision: int, now: float, *, unresolved: bool, carried: bool
    ) -> bool:
        """Whether nothing has changed until now. `carried`: a change of the replicas waits, or is being made."""
        sight = self._sight
        if sight is None or now >= self._until or revision != sight.revision or unresolved != sight.unresolved:
            return False
        if self._waits and not carried:
            return False
        if not _is_same(reading, sight.reading):
            return False
        self._held_at = now
        return True

    def end(self) -> Left | None:
        """End it; what held meanwhile, None where no step was left out."""
        left = None if self._sight is None or self._held_at is None else Left(self._sight, self._held_at)
        self._sight = self._held_at = None
        return left


def _is_at_zero(sight: Sight) -> bool:
    """Whether nobody is there who would do anything."""
    deployment = sight.deployment
    if deployment is None or sight.pods or sight.replica_sets is not None:
        return False
    return deployment.spec_replicas == deployment.replicas == 0


def _sleeps(sight: Sight, demand: Demand, decided: int) -> bool:
    """Whether of a pool at zero nothing is there to be done."""
    if not isinstance(sight.reading, PoolReading) or sight.reading.next_eta_seconds is not None:
        return False
    return not (demand.waiting or demand.running or demand.ending) and decided == 0


def _is_same(reading: PoolReading | BrokerDoubt, before: PoolReading | BrokerDoubt) -> bool:
    """A reading is the same object as long as nothing of it changes (QueueReader); a doubt is made anew each time."""
    if isinstance(reading, BrokerDoubt) and isinstance(before, BrokerDoubt):
        return reading.reason == before.reason and str(reading) == str(before)
    return reading is before
