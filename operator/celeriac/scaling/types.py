"""The vocabulary of a scaling decision: numbers in, a Decision out.

Everything here is a frozen value. Times are seconds on one monotonic clock that the caller owns; nothing in this
package reads a clock. The names follow autoscaling/v2 wherever Kubernetes has a name for the thing.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Mode(StrEnum):
    """What the operator does with a decision: act on it, only report it, or not decide at all."""

    AUTO = "Auto"
    DRY_RUN = "DryRun"
    PAUSED = "Paused"


class PolicyType(StrEnum):
    """Unit of a rate policy (HPAScalingPolicy.type)."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several rate policies wins (HPAScalingRules.selectPolicy)."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """At most `value` pods (or percent of the replicas) of change within `period_seconds`."""

    type: PolicyType
    value: int
    period_seconds: int


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """One direction of a HorizontalPodAutoscalerBehavior.

    `policies` is None where the user gave none: `decide` then takes the operator's default for the direction.
    """

    stabilization_window_seconds: int
    tolerance: float
    select_policy: SelectPolicy = SelectPolicy.MAX
    policies: tuple[RatePolicy, ...] | None = None


DEFAULT_SCALE_UP = ScalingRules(stabilization_window_seconds=0, tolerance=0.0)
DEFAULT_SCALE_DOWN = ScalingRules(stabilization_window_seconds=60, tolerance=0.1)


@dataclass(frozen=True, slots=True)
class Behavior:
    """How fast replicas may follow the recommendation (autoscaling/v2 HorizontalPodAutoscalerBehavior)."""

    scale_up: ScalingRules = DEFAULT_SCALE_UP
    scale_down: ScalingRules = DEFAULT_SCALE_DOWN


@dataclass(frozen=True, slots=True)
class QueueWaitTarget:
    """What waits now starts within `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TasksPerSlotTarget:
    """Waiting and running tasks per slot."""

    tasks: float


Target = QueueWaitTarget | TasksPerSlotTarget
DEFAULT_TARGET = QueueWaitTarget(seconds=10)


@dataclass(frozen=True, slots=True)
class Fallback:
    """Replicas to hold once the broker has been unreadable for `after_seconds`."""

    after_seconds: float
    replicas: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What a pool's owner asked for. `slots` is the number of tasks that one replica runs at a time."""

    slots: int
    min_replicas: int = 0
    max_replicas: int = 20
    target: Target = DEFAULT_TARGET
    scale_to_zero_after_seconds: float = 300
    behavior: Behavior = Behavior()
    fallback: Fallback | None = None
    mode: Mode = Mode.AUTO
    pinned_replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pool has to do, read at one moment.

    waiting    due messages in the pool's queues (q)
    running    tasks delivered to a worker, not yet finished (a); without the agent that is the pool's share of
               `unacked`, prefetched messages included
    scheduled  messages held by workers for an ETA that has not come; no demand, but never to be dropped
    deferred   messages in the queues with an ETA that has not come
    next_eta_seconds  seconds until the earliest of the deferred ones is due, None while none is known
    held_elsewhere    messages of these queues that workers outside the pool hold
    agent      whether the pool's workers report what they run: they then give scheduled messages back when they drain
    exact      False where what is held is an estimate from a sample: nothing may then be assumed idle
    current_replicas  spec.replicas of the Deployment (p)
    arrival_rate      tasks per second, smoothed (lambda)
    runtime_seconds   mean seconds a task occupies a slot (R), None while unknown
    cold_start_seconds  seconds from a scale-up to a pod that consumes (C)
    """

    waiting: int
    running: int
    current_replicas: int
    scheduled: int = 0
    deferred: int = 0
    next_eta_seconds: float | None = None
    held_elsewhere: int = 0
    agent: bool = False
    exact: bool = True
    arrival_rate: float = 0.0
    runtime_seconds: float | None = None
    cold_start_seconds: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether it is certain that nothing waits and no worker holds anything."""
        return self.exact and not (self.waiting or self.running or self.scheduled or self.held_elsewhere)


@dataclass(frozen=True, slots=True)
class Doubt:
    """The demand could not be read. Unknown is never zero: replicas hold, or follow `fallback`.

    `since` is the moment of the first failed reading in a row; `reason` a `Reason`;
    `message` a sentence that names the cure.
    """

    current_replicas: int
    since: float
    reason: str
    message: str


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


MARKED_COST = -1000
"""Deletion cost of a marked pod, set together with the mark: below that of every pod without one, which is 0."""

RELEASED_COST = -2000
"""Deletion cost of a marked pod that holds nothing any more: below that of those which still drain."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One replica of a pool whose workers carry the agent, as observed; Terminating pods are no replicas any more.

    assigned     whether it has a node
    phase        of its status; Succeeded and Failed ones are no replicas either, and `plan` leaves them out
    cost         its annotation controller.kubernetes.io/pod-deletion-cost, 0 where it has none
    recent_costs  what it was just before: Kubernetes may not have seen the change yet
    marked       whether its annotation celeriac.dev/drain was seen
    drained      whether a fresh report says, with the token of that mark, that it holds nothing and takes nothing
    started      whether its worker may ever have taken a message: it has reported, or has been ready
    running      tasks that it runs; all its slots where its report is missing or old
    drainable    whether its agent knows how to drain
    created      Unix seconds
    """

    uid: str
    name: str
    assigned: bool
    phase: str
    ready: bool
    cost: int = 0
    recent_costs: frozenset[int] = frozenset()
    marked: bool = False
    drained: bool = False
    started: bool = True
    running: int = 0
    drainable: bool = True
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What `plan` needs to know of the running Deployment. `agent`: whether its pods can drain; only then the rest.

    unseen  pods that the Deployment counts, but that were not seen yet: whatever they run is not known
    """

    replicas: int
    rollout_in_progress: bool = False
    pods: tuple[Pod, ...] = ()
    agent: bool = False
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is really done now. `replicas` None: none are set; `reason` and `message` then say why a change is held.

    drain    uids of the pods to be marked: they shall take nothing new, and be the first to go
    undrain  uids of the pods whose mark is to be taken away: they shall work again
    release  uids of marked pods that hold nothing while others still drain: to get a cost of `RELEASED_COST`, so that
             they can go first. Neither marks nor costs change in a plan that removes replicas
    """

    replicas: int | None
    reason: str
    message: str
    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
