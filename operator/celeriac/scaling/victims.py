"""Which workers are to go, and when they may: the marks of the drain protocol.

A marked worker takes nothing new, gives back what it has not started and ends what it runs. It is safe to stop once it
has said so, or has never taken anything; and it is stopped only when whoever Kubernetes may choose is safe. A worker
that cannot drain is marked for Kubernetes alone, and is stopped at a moment at which it holds nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from celeriac.scaling.workload import MARKED_COST, RELEASED_COST, Pod, Workload


@dataclass(frozen=True, slots=True)
class Marks:
    """Changes of marks, and the victims that remain: pods that are to go, marked or about to be."""

    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    victims: tuple[Pod, ...] = ()


def is_safe(pod: Pod) -> bool:
    """Whether no task can be hit: it holds nothing and takes nothing, or will find its mark before it ever does.

    One that cannot drain holds nothing at this moment. A task that it takes in the next, before Kubernetes stops it,
    has the grace period to end, as in every warm shutdown.
    """
    return pod.marked and (pod.drained or not pod.started or (pod.is_stopped_at_rest and pod.quiet is True))


def choose(workload: Workload, wanted: int) -> Marks:
    """Return who is to go so that `wanted` replicas stay, the easiest first; all others shall work.

    Replicas that have no pod yet are the first to be done without.
    """
    surplus = len(workload.pods) - wanted if wanted < workload.replicas else 0
    victims = tuple(sorted(workload.pods, key=reluctance)[: max(0, surplus)])
    removing = len(workload.pods) > workload.replicas
    return marks_of(workload.pods, victims, lambda _: removing)


def keep(workload: Workload, wanted: int) -> Marks:
    """Return the same without any new victim: of the marked pods only what demand needs is unmarked."""
    marked = sorted((pod for pod in workload.pods if pod.marked), key=reluctance)
    victims = tuple(marked[: max(0, workload.replicas - wanted)])
    removing = len(workload.pods) > workload.replicas
    return replace(marks_of(workload.pods, victims, lambda _: removing), drain=())


def marks_of(pods: Iterable[Pod], victims: tuple[Pod, ...], removing: Callable[[Pod], bool]) -> Marks:
    """Return what is to be changed so that the victims, and no other pods, are marked.

    While there are more pods than replicas, Kubernetes has yet to remove some (`removing`), and those are among the
    safe ones: none of them may be given work now. A mark whose cost somebody else has changed is set anew: without it
    Kubernetes would never stop its pod first.
    """
    chosen = {pod.uid for pod in victims}
    can_be_told = (pod for pod in victims if pod.drainable or pod.is_stopped_at_rest)
    drain = tuple(pod.uid for pod in can_be_told if not (pod.marked and pod.cost <= MARKED_COST))
    undrain = (pod for pod in pods if pod.marked and pod.uid not in chosen)
    return Marks(drain, tuple(pod.uid for pod in undrain if not (is_safe(pod) and removing(pod))), victims)


def released(victims: tuple[Pod, ...]) -> tuple[str, ...]:
    """Return those that are safe already, and so far tied with those that are not."""
    if all(is_safe(pod) for pod in victims):
        return ()
    return tuple(pod.uid for pod in victims if is_safe(pod) and pod.cost > RELEASED_COST)


def reluctance(pod: Pod) -> tuple[bool, bool, bool, bool, bool, bool, bool, int, float, str]:
    """Return the order of victims: never started, already drained, already draining, not ready, idle, least busy.

    Never started ones come even before those that drain: Kubernetes stops them first in any case. So it does with one
    that carries a cost like a mark's and no mark, which somebody else has written: while it stays, no other can go.
    Apart from that a victim stays one, else work would move to and fro. Whoever cannot drain is the last, and gives way
    to another such one if it runs a long task.
    """
    drained = pod.marked and pod.drained
    is_in_the_way = not pod.marked and pod.cost <= MARKED_COST
    return (
        not pod.drainable and not is_in_the_way,
        pod.started,
        not is_in_the_way,
        pod.is_stopped_at_rest and pod.restless,
        not pod.marked,
        not drained,
        pod.ready,
        pod.running,
        -pod.created,
        pod.uid,
    )
