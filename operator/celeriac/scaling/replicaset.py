"""Whom Kubernetes stops when a ReplicaSet gets smaller, as far as that is certain.

The ReplicaSet controller sorts its pods (pkg/controller, ActivePodsWithRanks): without a node first; Pending, Unknown,
Running; not ready first; lower deletion cost first; then by neighbours on the node, age and restarts. What comes after
the cost is left out here: neighbours change with other people's pods, and ages are compared in steps. Pods that are
equal up to the cost are tied, and any of them may be the one.
"""

from collections.abc import Callable, Iterable
from itertools import groupby

from celeriac.scaling.types import Pod

_PHASES = {"Pending": 0, "Unknown": 1}
"""podPhaseToOrdinal; Running is the last."""

_ENDED = frozenset({"Succeeded", "Failed"})


def active(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """Return the pods that count as replicas (IsPodActive); an evicted one is Failed and counts no more."""
    return tuple(pod for pod in pods if pod.phase not in _ENDED)


def rank(pod: Pod) -> tuple[bool, int, bool, int]:
    """Return what the controller certainly sorts by: the smallest goes first."""
    return pod.assigned, _PHASES.get(pod.phase, 2), pod.ready, pod.cost


def certain(pods: Iterable[Pod], acceptable: Callable[[Pod], bool]) -> tuple[int, list[Pod]]:
    """Return how many pods may be removed so that whichever the controller takes is acceptable.

    With it, the pods that are in the way of a larger number: the first that are not acceptable, tied ones together.
    """
    number = 0
    for _, group in groupby(sorted(pods, key=rank), key=rank):
        tied = list(group)
        wrong = [pod for pod in tied if not acceptable(pod)]
        if wrong:
            return number, wrong
        number += len(tied)
    return number, []
