"""Whom the ReplicaSet controller of Kubernetes stops, by its documentation; kept apart from the operator's code.

"Scaling down a ReplicaSet" of the Kubernetes documentation, in more detail the comments of pkg/controller
(ActivePodsWithRanks): of two pods that one goes which has no node; then Pending before Unknown before Running; then the
one that is not ready; then the one of the lower deletion cost; then by neighbours on the node, the time of becoming
ready, restarts and age, and last by chance.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cmp_to_key

from celeriac.scaling.workload import Pod

Unwanted = Callable[[Pod], bool]


def replicas_of(pods: Iterable[Pod]) -> list[Pod]:
    """The pods that the controller counts."""
    return [pod for pod in pods if pod.phase not in ("Succeeded", "Failed")]


def stopped(pods: Iterable[Pod], number: int, unwanted: Unwanted) -> list[Pod]:
    """Those that go if so many go, and if all that is not certain comes out as unwanted as it can.

    What is not certain: the order of pods that are equal up to the cost, and whether a cost that has just been written
    is known already.
    """

    def cost(pod: Pod) -> int:
        costs = [pod.cost, *pod.recent_costs]
        return min(costs) if unwanted(pod) else max(costs)

    def goes_first(one: Pod, other: Pod) -> int:
        for better in _rules(one, other, cost):
            if better:
                return better
        return int(unwanted(other)) - int(unwanted(one))

    return sorted(replicas_of(pods), key=cmp_to_key(goes_first))[: max(0, number)]


def _rules(one: Pod, other: Pod, cost: Callable[[Pod], int]) -> Iterator[int]:
    """One rule after the other: negative where `one` goes first, positive where `other` does."""
    phases = ("Pending", "Unknown", "Running")
    yield int(one.assigned) - int(other.assigned)
    yield phases.index(one.phase) - phases.index(other.phase)
    yield int(one.ready) - int(other.ready)
    yield cost(one) - cost(other)
