"""Whom Kubernetes stops when a ReplicaSet gets smaller, as far as that is certain.

The ReplicaSet controller sorts its pods (pkg/controller, ActivePodsWithRanks): without a node first; Pending, Unknown,
Running; not ready first; lower deletion cost first; then by neighbours on the node, age and restarts. What comes after
the cost is left out here: neighbours change with other people's pods, and ages are compared in steps. Pods that are
equal up to the cost are tied, and any of them may be the one.
"""

from collections.abc import Callable, Iterable

from celeriac.scaling.workload import Pod

_PHASES = {"Pending": 0, "Unknown": 1}
"""podPhaseToOrdinal; Running is the last."""

_ENDED = frozenset({"Succeeded", "Failed"})


def active(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """Return the pods that count as replicas (IsPodActive); an evicted one is Failed and counts no more."""
    return tuple(pod for pod in pods if pod.phase not in _ENDED)


def rank(pod: Pod, cost: int) -> tuple[bool, int, bool, int]:
    """Return what the controller certainly sorts by: the smallest goes first."""
    return pod.assigned, _PHASES.get(pod.phase, 2), pod.ready, cost


def certain(pods: Iterable[Pod], acceptable: Callable[[Pod], bool]) -> tuple[int, list[Pod]]:
    """Return how many pods may be removed so that whichever the controller takes is acceptable.

    With it, the pods that are in the way of a larger number: the first that are not acceptable, tied ones together.
    Where a cost has just changed, the controller may still know the one before: an acceptable pod counts with the
    highest, any other with the lowest.
    """
    good, others = [], []
    for pod in pods:
        costs = (pod.cost, *pod.recent_costs)
        if acceptable(pod):
            good.append(rank(pod, max(costs)))
        else:
            others.append((rank(pod, min(costs)), pod))
    if not others:
        return len(good), []
    first = min(place for place, _ in others)
    return sum(place < first for place in good), [pod for place, pod in others if place == first]
