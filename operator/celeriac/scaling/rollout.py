"""What is done while old and new pods of a pool are beside each other, so that every rollout ends.

The Deployment controller starts new pods first and stops old ones as the new get ready. Where no node or quota has room
for new ones, that never happens. Then old pods make room: as many as the strategy lets a rollout start above the
replicas, the idle first. They drain, and their own ReplicaSet is made smaller by those that have; the Deployment
controller starts a new one for each. A new pod that has room and is not ready makes nobody go: the release may be
broken.

The replicas are another matter. When they go down in a rollout, the controller takes pods of all ReplicaSets in
proportion (pkg/controller/deployment, sync.go: scale), and stops old ones up to what the new are short of (rolling.go).
`largest_cuts` is how many that may be of each; they go only when in each ReplicaSet as many are safe.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from celeriac.scaling.decision import Retirement
from celeriac.scaling.policy import Strategy
from celeriac.scaling.removal_order import certain
from celeriac.scaling.victims import Marks, is_safe, marks_of, reluctance
from celeriac.scaling.workload import Pod, Rollout, Workload

LACKING_SECONDS = 3.0
"""New pods that have had no room for so long get some: the scheduler may just not have come to them."""
MORE_SECONDS = 30.0
"""Where room was made and is too small for a new pod, one more old pod goes after so long."""
TRY_AGAIN_SECONDS = 1.0
"""A pod that has ended leaves its place in a quota about then."""
PATIENCE_SECONDS = 60.0
"""Old pods that cannot drain make room when nothing is held, or else after so long, with a warm shutdown as ever."""

Acceptable = Callable[[Pod], bool]


@dataclass(frozen=True, slots=True)
class Sides:
    """The pods of a rollout: those of the new template, and those of each older one by their ReplicaSet."""

    rollout: Rollout
    new: tuple[Pod, ...]
    old: Mapping[str, tuple[Pod, ...]]

    @classmethod
    def of(cls, workload: Workload, rollout: Rollout) -> "Sides":
        """Tell new pods from old ones."""
        old: dict[str, tuple[Pod, ...]] = {}
        for pod in workload.pods:
            if pod.replica_set is not None and pod.replica_set != rollout.current:
                old[pod.replica_set] = (*old.get(pod.replica_set, ()), pod)
        return cls(rollout, tuple(pod for pod in workload.pods if pod.replica_set == rollout.current), old)

    @property
    def all_old(self) -> tuple[Pod, ...]:
        """The old pods of all ReplicaSets."""
        return tuple(pod for pods in self.old.values() for pod in pods)

    @property
    def lacking(self) -> int:
        """New pods that have no room now."""
        return self.rollout.refused + sum(pod.unplaced for pod in self.new)

    def removing(self, pod: Pod) -> bool:
        """Whether Kubernetes has yet to remove pods of its ReplicaSet."""
        mine = self.new if pod.replica_set == self.rollout.current else self.old.get(pod.replica_set or "", ())
        return len(mine) > self.rollout.sizes.get(pod.replica_set or "", 0)

    def marks(self, victims: Iterable[Pod]) -> Marks:
        """What is to be changed so that these pods, and no others, are to go."""
        return marks_of((*self.new, *self.all_old), tuple(victims), self.removing)


def to_make_room(strategy: Strategy, workload: Workload, sides: Sides) -> tuple[Pod, ...]:
    """Return the old pods that are to make room for new ones now, the easiest to go first."""
    old = sorted(sides.all_old, key=reluctance)
    return tuple(old[: max(0, _number(strategy, workload, sides))])


def _number(strategy: Strategy, workload: Workload, sides: Sides) -> int:
    """How many are to make room.

    At most so many that, of the pods that there was room for, no more are missing than the strategy allows. Where a
    victim has yet to drain while no new pod waits at this moment, it stays one.
    """
    rollout, lacking = sides.rollout, sides.lacking
    if strategy.recreate or rollout.lacking_seconds is None or rollout.lacking_seconds < LACKING_SECONDS:
        return 0
    at_work = sum(not pod.unplaced for pod in sides.all_old) + sum(pod.ready for pod in sides.new)
    missing = min(workload.replicas, rollout.peak) - at_work
    most = strategy.surge(workload.replicas) + strategy.unavailable(workload.replicas)
    spare = max(1, most) - max(0, missing)
    if not lacking:
        return min(spare, sum(pod.marked for pod in sides.all_old))
    if spare > 0:
        return min(spare, lacking)
    starting = any(not (pod.ready or pod.unplaced) for pod in sides.new)
    return 1 if rollout.still_seconds >= MORE_SECONDS and not rollout.ending and not starting else 0


def retirement(victims: tuple[Pod, ...], sides: Sides, acceptable: Acceptable) -> Retirement | None:
    """Return which ReplicaSet is to be smaller so that exactly victims go, None while none of them may."""
    if not sides.lacking:
        return None
    best: Retirement | None = None
    for replica_set, pods in sides.old.items():
        wanted = sum(pod.replica_set == replica_set for pod in victims)
        number = min(wanted, certain(pods, acceptable)[0])
        if number and (best is None or number > best.before - best.after):
            message = f"{number} of {len(pods)} old workers make room for new ones; they hold nothing"
            best = Retirement(replica_set, len(pods), len(pods) - number, len(pods), message)
    return best


def another_try(sides: Sides) -> Retirement | None:
    """Return how new pods that a quota refused are tried again once it has room; None where it is not time for that.

    The ReplicaSet controller tries ever more rarely by itself, but at once after a change. So the new ReplicaSet is
    made as small as it is, and the Deployment controller asks for the rest again.
    """
    rollout, existing = sides.rollout, len(sides.new)
    if not (rollout.refused and rollout.freed and TRY_AGAIN_SECONDS <= rollout.still_seconds < MORE_SECONDS):
        return None
    return Retirement(rollout.current, existing + rollout.refused, existing, existing)


def largest_cuts(strategy: Strategy, workload: Workload, sides: Sides, wanted: int) -> dict[str, int]:
    """Return how many pods of each ReplicaSet may go at most once the replicas are `wanted`."""
    new, old = len(sides.new), len(sides.all_old)
    if not wanted:
        return {sides.rollout.current: new} | {each: len(pods) for each, pods in sides.old.items()}
    refused = sides.rollout.refused
    existing, not_ready = new + old + refused, refused + sum(not pod.ready for pod in sides.new)
    proportional = max(0, existing - wanted - strategy.surge(wanted))
    of_old = max(proportional, existing - wanted - not_ready + strategy.unavailable(wanted))
    cuts = {each: max(0, min(len(pods), of_old)) for each, pods in sides.old.items()}
    return cuts | {sides.rollout.current: min(new, max(proportional, new - wanted))}


def to_go(sides: Sides, cuts: Mapping[str, int]) -> tuple[Pod, ...]:
    """Return the pods that are to drain before the replicas go down: of each ReplicaSet the easiest."""
    groups = {**sides.old, sides.rollout.current: sides.new}
    return tuple(pod for each, pods in groups.items() for pod in sorted(pods, key=reluctance)[: cuts.get(each, 0)])


def in_the_way(sides: Sides, cuts: Mapping[str, int], acceptable: Acceptable) -> list[Pod]:
    """Return the pods that Kubernetes could take although they are not acceptable; none: the replicas may go down."""
    obstacles: list[Pod] = []
    for each, pods in {**sides.old, sides.rollout.current: sides.new}.items():
        number, first = certain(pods, acceptable)
        if number < cuts.get(each, 0):
            obstacles += first
    return obstacles


def has_begun(sides: Sides) -> bool:
    """Whether new workers may hold tasks already."""
    return any(pod.started for pod in sides.new)


def is_patient_no_more(rollout: Rollout) -> bool:
    """Whether old pods that cannot drain go although they may hold tasks."""
    return rollout.lacking_seconds is not None and rollout.lacking_seconds >= PATIENCE_SECONDS


def tolerable(*, anyone: bool) -> Acceptable:
    """Whom Kubernetes may take: who is safe, and with `anyone` who cannot drain."""
    return lambda pod: is_safe(pod) or (anyone and not pod.drainable)
