"""What a pool's owner asked for, as far as scaling is concerned.

The names follow autoscaling/v2 wherever Kubernetes has a name for the thing.
"""

from dataclasses import dataclass
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
class Strategy:
    """How a rollout replaces old pods by new ones (the DeploymentStrategy of apps/v1).

    recreate         all old pods end before new ones start; the rest then means nothing
    max_surge        pods above the replicas: a number, or a percentage such as "25%"
    max_unavailable  the same for pods below the replicas
    """

    recreate: bool = False
    max_surge: int | str = "25%"
    max_unavailable: int | str = 0

    def surge(self, replicas: int) -> int:
        """Pods that a rollout may start above so many replicas."""
        return 0 if self.recreate else self._share(self.max_surge, replicas, up=True)

    def unavailable(self, replicas: int) -> int:
        """Pods that it may have less than so many; one where both would be none (ResolveFenceposts)."""
        if self.recreate:
            return 0
        number = self._share(self.max_unavailable, replicas, up=False)
        return min(replicas, number if number or self.surge(replicas) else 1)

    @staticmethod
    def _share(value: int | str, replicas: int, *, up: bool) -> int:
        """A number, or a percentage of the replicas (intstr.GetScaledValueFromIntOrPercent)."""
        if isinstance(value, int):
            return value
        hundredths = int(value.removesuffix("%")) * replicas
        return -(-hundredths // 100) if up else hundredths // 100


@dataclass(frozen=True, slots=True)
class Policy:
    """What a pool's owner asked for. `slots` is the number of tasks that one replica runs at a time.

    max_replicas_of  who set max_replicas, for sentences: the owner's field, or somebody above
    """

    slots: int
    min_replicas: int = 0
    max_replicas: int = 20
    target: Target = DEFAULT_TARGET
    scale_to_zero_after_seconds: float = 300
    behavior: Behavior = Behavior()
    fallback: Fallback | None = None
    mode: Mode = Mode.AUTO
    pinned_replicas: int | None = None
    strategy: Strategy = Strategy()
    max_replicas_of: str = "maxReplicas"
