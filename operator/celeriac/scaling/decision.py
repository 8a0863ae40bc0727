"""What is decided and planned, and what has to be remembered for the next decision: frozen values.

Times are seconds on one monotonic clock that the caller owns; nothing in this package reads a clock.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One raw recommendation, remembered for the stabilization windows."""

    at: float
    replicas: int


@dataclass(frozen=True, slots=True)
class ScaleChange:
    """One performed change of the replicas (positive up, negative down), remembered for the rate policies."""

    at: float
    change: int


@dataclass(frozen=True, slots=True)
class History:
    """What `decide` must remember between two calls: pruned by it, owned by the caller.

    highest  the scale-down window as a staircase: each entry higher than all later ones, the first its maximum
    lowest   the scale-up window, likewise: the first is its minimum
    changes  what was performed, for the rate policies
    idle_since  since when readings say without a gap that nothing waits and nothing needs a worker
    next_eta_at  when the earliest ETA task that is known falls due
    """

    highest: tuple[Recommendation, ...] = ()
    lowest: tuple[Recommendation, ...] = ()
    changes: tuple[ScaleChange, ...] = ()
    idle_since: float | None = None
    next_eta_at: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """Why a Decision is not what the target alone would ask for (condition ScalingLimited)."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Stage:
    """What one step of a decision hands on: its name, the count, and its own words, none where it changes nothing."""

    name: str
    replicas: int
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and the sentence that explains it; the two never differ.

    replicas  the desired count
    active    whether the operator decides from demand (condition ScalingActive)
    reason    a `Reason`
    message   a sentence with the numbers, to be checked by hand
    limit     set where a bound, a window or a rate held the decision back
    history   what to pass to the next call
    """

    replicas: int
    reason: str
    message: str
    active: bool = True
    limit: Limit | None = None
    history: History = field(default_factory=History)


@dataclass(frozen=True, slots=True)
class Retirement:
    """Old pods that make room for new ones: their ReplicaSet, by uid, goes from so many replicas to fewer.

    existing  pods that it has, all its replicas but where a quota refuses some
    message   empty where no pod goes by it
    """

    replica_set: str
    before: int
    after: int
    existing: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is really done now. `replicas` None: none are set; `reason` and `message` then say why a change is held.

    drain    uids of the pods to be marked: they shall take nothing new, and be the first to go
    undrain  uids of the pods whose mark is to be taken away: they shall work again
    release  uids of marked pods that hold nothing while others still drain: to get a cost of `RELEASED_COST`, so that
             they can go first. Neither marks nor costs change in a plan that removes pods
    retire   old pods that go for a rollout; the replicas of the pool stay
    """

    replicas: int | None
    reason: str
    message: str
    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    retire: Retirement | None = None
