"""Condition PodsEnd: whether deleted Pods go away, and what keeps those that do not; pure."""

from typing import Final

from celeriac.api.reasons import Reason
from celeriac.api.words import first_of, foreign
from celeriac.reporting.durations import coarse
from celeriac.reporting.view import PODS_END, Condition, View
from celeriac.workers.stuck import Stuck, held_by

NAMED: Final = 3
"""Pods, and finalizers of one, that a message names."""


def pods_end(view: View) -> Condition:
    """One that is stuck is enough for False."""
    stuck = view.outcome.stuck if view.outcome else ()
    if not stuck:
        return Condition.of(PODS_END, True, Reason.PODS_END, "no deleted pod is stuck")
    who = first_of([f"{each.pod} (for over {coarse(each.seconds)})" for each in stuck], NAMED)
    held = held_by(stuck)
    had = f" They had {held} tasks and messages by their last reports." if held else ""
    cures = list(dict.fromkeys(_cure(each) for each in stuck))[:NAMED]
    return Condition.of(
        PODS_END,
        False,
        Reason.STUCK_TERMINATING,
        f"{len(stuck)} pods are Terminating and do not end: {who}. No replica is kept for them.{had} {' '.join(cures)}",
    )


def _cure(stuck: Stuck) -> str:
    if stuck.finalizers:
        names = first_of([foreign(each, 100) for each in stuck.finalizers], NAMED)
        return (
            f"{stuck.pod} has ended and is kept by finalizer {names}: mend who is to remove it, or kubectl patch pod"
            f' {stuck.pod} --type=merge -p \'{{"metadata":{{"finalizers":null}}}}\'.'
        )
    if stuck.node is None:
        return f"{stuck.pod} has no node: kubectl delete pod {stuck.pod} --force."
    return (
        f"The kubelet of node {stuck.node} does not end {stuck.pod}: see kubectl get node {stuck.node}. Once that"
        f" machine is off for good, kubectl delete node {stuck.node}, or taint it node.kubernetes.io/out-of-service;"
        f" kubectl delete pod {stuck.pod} --force only where its worker certainly runs no more, or its tasks run twice."
    )
