"""Which pools need no new decision: nothing of them has changed, and no clock runs that would change one."""

from typing import Final, NamedTuple

from celeriac.autoscaling.outcome import Outcome
from celeriac.autoscaling.sight import Sight
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
    """Of a pool that sleeps at zero, or whose broker is in doubt: what the last step saw, as long as it holds."""

    def __init__(self, sight: Sight | None = None, until: float = 0.0) -> None:
        """`until`: by then the clock alone may change what is decided."""
        self._sight = sight
        self._until = until
        self._held_at: float | None = None

    @classmethod
    def after(cls, sight: Sight, outcome: Outcome, now: float) -> "Rest":
        """The rest after a step from which nothing came."""
        demand = outcome.demand
        if isinstance(demand, Demand) and not _sleeps(sight, demand, outcome.decision.replicas):
            return cls()
        longest = SLEEP_SECONDS if isinstance(demand, Demand) else DOUBT_SECONDS
        edge = next_edge(sight.pool.policy, demand, outcome.decision.history, now) - EDGE_SECONDS
        return cls(sight, min(now + longest, edge))

    def holds(self, reading: PoolReading | BrokerDoubt, revision: int, now: float, *, unresolved: bool) -> bool:
        """Whether nothing has changed until now."""
        sight = self._sight
        if sight is None or now >= self._until or revision != sight.revision or unresolved != sight.unresolved:
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


def _sleeps(sight: Sight, demand: Demand, decided: int) -> bool:
    """Whether nothing is there to be done, and nobody to do it."""
    deployment, reading = sight.deployment, sight.reading
    if deployment is None or sight.pods or sight.replica_sets is not None or not isinstance(reading, PoolReading):
        return False
    is_empty = reading.next_eta_seconds is None and not (demand.waiting or demand.running or demand.ending)
    return is_empty and decided == deployment.spec_replicas == deployment.replicas == 0


def _is_same(reading: PoolReading | BrokerDoubt, before: PoolReading | BrokerDoubt) -> bool:
    """A reading is the same object as long as nothing of it changes (QueueReader); a doubt is made anew each time."""
    if isinstance(reading, BrokerDoubt) and isinstance(before, BrokerDoubt):
        return reading.reason == before.reason and str(reading) == str(before)
    return reading is before
