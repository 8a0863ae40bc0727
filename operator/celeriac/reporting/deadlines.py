"""How long something may be in a pool's way before it is Stalled; in virtual time.

A pool that cannot get on by itself is Reconciling for a while and Stalled then, as a Deployment is Progressing until
its progressDeadlineSeconds are over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.cluster.times import parse_timestamp
from celeriac.reporting.obstacles import Obstacle
from celeriac.reporting.view import RECONCILING, STALLED
from celeriac.watching.store import KnownPool

AT_ONCE: Final = 0.0
SHORT_SECONDS: Final = 60.0
"""What somebody has to mend. The time is for what comes in another order: a Secret after its pool."""
NODE_SECONDS: Final = 300.0
"""A node that a cluster autoscaler brings takes some minutes."""
PROGRESS_SECONDS: Final = 600.0
"""What may go on by itself; as progressDeadlineSeconds of a Deployment."""

_PATIENCE: Final[Mapping[Reason, float]] = {
    Reason.INVALID_SPEC: AT_ONCE,
    Reason.NOT_ALLOWED: AT_ONCE,
    Reason.UNSCHEDULABLE: NODE_SECONDS,
    **dict.fromkeys(
        (
            *(Reason.CREATING, Reason.ROLLING_OUT, Reason.PODS_STARTING),
            *(Reason.BROKER_CONNECTION_FAILED, Reason.BROKER_TIMEOUT, Reason.BROKER_LOADING, Reason.BROKER_BUSY),
            *(Reason.BROKER_RESTARTED, Reason.BROKER_IS_REPLICA, Reason.BROKER_ERROR),
            *(Reason.BROKER_FULL, Reason.BROKER_REFUSES_WRITES),
        ),
        PROGRESS_SECONDS,
    ),
}
_WITHOUT_A_FAULT: Final = frozenset({Reason.CREATING, Reason.ROLLING_OUT, Reason.PODS_STARTING})
"""What is no trouble before its time is over: Stalled then tells by another reason."""


def patience(reason: Reason) -> float:
    """Seconds that an obstacle of this reason is given."""
    return _PATIENCE.get(reason, SHORT_SECONDS)


@dataclass(frozen=True, slots=True)
class Deadline:
    """Where a pool stands: the obstacle whose time is over, None while there is none, and when to look again."""

    overdue: Obstacle | None
    again_seconds: float


@dataclass(slots=True)
class _Clock:
    """Since when an obstacle is there (monotonic seconds), and how far it was overcome when last seen."""

    since: float
    progress: int


@dataclass(slots=True)
class _Pool:
    """The clocks of one pool by kind; what another process told of it by reason, for as long as that is believed."""

    uid: str
    told: Mapping[str, float]
    told_until: float
    clocks: dict[str, _Clock] = field(default_factory=dict)

    def look(self, obstacle: Obstacle, now: float) -> _Clock:
        """The clock of an obstacle that is there now."""
        clock = self.clocks.get(obstacle.kind)
        if clock is None:
            since = self.told.get(told(obstacle)[0], self.told.get(obstacle.reason)) if now < self.told_until else None
            return _Clock(now if since is None else since, obstacle.progress)
        return _Clock(now if obstacle.progress > clock.progress else clock.since, obstacle.progress)


class Deadlines:
    """Remembers of each pool since when what is in its way is there. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._pools: dict[PoolKey, _Pool] = {}

    def forget(self, key: PoolKey) -> None:
        """Forget a deleted pool."""
        self._pools.pop(key, None)

    def forget_all(self) -> None:
        """Begin anew with what the statuses tell."""
        self._pools.clear()

    def step(
        self, known: KnownPool, found: Sequence[Obstacle], status: Mapping[str, Any], moment: datetime, now: float
    ) -> Deadline:
        """Take over what is in the pool's way; `status` is what was last written of it, at the latest at `moment`."""
        pool = self._pools.get(known.key)
        if pool is None or pool.uid != known.uid:
            pool = self._pools[known.key] = _Pool(known.uid, _as_told(status, moment, now), now + SHORT_SECONDS)
        pool.clocks = {each.kind: pool.look(each, now) for each in found}
        left = [(pool.clocks[each.kind].since + patience(each.reason) - now, each) for each in found]
        overdue = next((each for seconds, each in left if seconds <= 0), None)
        return Deadline(overdue, min((seconds for seconds, _ in left if seconds > 0), default=float("inf")))


def told(overdue: Obstacle) -> tuple[Reason, str]:
    """The reason and the sentence for an obstacle whose time is over."""
    seconds = patience(overdue.reason)
    if overdue.reason in _WITHOUT_A_FAULT:
        message = f"{overdue.message}, without progress for {seconds:.0f} s: see the events and logs of its pods"
        return Reason.PROGRESS_DEADLINE_EXCEEDED, message
    return overdue.reason, overdue.message


def _as_told(status: Mapping[str, Any], moment: datetime, now: float) -> dict[str, float]:
    """Since when what a status tells of is there, by its reason: an operator that restarts gives nothing all time anew.

    The moments are those of another machine's clock, which may be hours from this one: of the time that an obstacle is
    given they prove one half at most, so that nothing stalls at once where a clock is ahead.
    """
    since = {}
    for condition in status.get("conditions") or ():
        if condition["status"] != "True":
            continue
        if condition["type"] == STALLED:
            since[condition["reason"]] = float("-inf")
        elif condition["type"] == RECONCILING:
            age = (moment - parse_timestamp(condition["lastTransitionTime"])).total_seconds()
            since[condition["reason"]] = now - min(max(age, 0.0), patience(condition["reason"]) / 2)
    return since
