"""Condition WorkersResponding: whether the workers that are ready answer, and take the tasks that wait; pure."""

from collections.abc import Sequence
from typing import Final

from celeriac.api.reasons import Reason
from celeriac.api.words import first_of
from celeriac.autoscaling.healer import Healing
from celeriac.reporting.durations import coarse
from celeriac.reporting.view import WORKERS_RESPONDING, Condition, View, unheard
from celeriac.workers.responses import Lapse, Responses

NAMED: Final = 3
"""Pods that a message names."""


def workers_responding(view: View) -> Condition:
    """One of them that does not is enough for False."""
    outcome = view.outcome
    if outcome is None or view.broker is not None:
        return unheard(view, WORKERS_RESPONDING)
    if outcome.responses is None:
        return Condition.unknown(WORKERS_RESPONDING, Reason.AGENT_DISABLED, "workers without the agent report nothing")
    responses = outcome.responses
    if responses.silent:
        return Condition.of(WORKERS_RESPONDING, False, Reason.WORKER_SILENT, _silent(responses))
    if responses.not_fetching:
        message = _not_fetching(responses) + _healing(outcome.healing)
        return Condition.of(WORKERS_RESPONDING, False, Reason.NOT_FETCHING, message)
    held = f"; {responses.limited} tasks wait there for their rate limit" if responses.limited else ""
    said = f"{responses.judged} workers report every second{held}" if responses.judged else "no worker is ready"
    return Condition.of(WORKERS_RESPONDING, True, Reason.RESPONDING, said)


def _silent(responses: Responses) -> str:
    return (
        f"{_who(responses.silent)} of {responses.judged} ready workers: their reports have stood still. Such a process"
        " hangs or is stopped, or its connection to the broker was dropped without a word, or the broker refuses it"
        " since a password or an ACL changed (it keeps the URL of its start), or a task holds Python's interpreter: C"
        " code that keeps the GIL, on gevent and eventlet any code that never yields. It counts as busy in all its"
        " slots. Look at its log and its stack (py-spy dump); if it does not come back, kubectl delete pod"
        f" {responses.silent[0].pod}, which lets tasks that still run end"
    )


def _not_fetching(responses: Responses) -> str:
    first = responses.not_fetching[0]
    what = f"received {first.unstarted} tasks and starts none" if first.unstarted else "takes none of the waiting tasks"
    return (
        f"{_who(responses.not_fetching)} of {responses.judged} ready workers: tasks wait in their queues, slots are"
        f" free, and {first.pod} {what}. Its consumer was cancelled or its pool was shrunk by remote control, or its"
        " connection to the broker was dropped without a word, or its app limits what it fetches (an ETA limit, a"
        " strategy that collects messages), or reads other priority steps than spec.broker says, or its children hang."
        f" Compare `celery inspect active_queues` and `stats`, look at its log; kubectl delete pod {first.pod} starts"
        " another, and lets tasks that run end"
    )


def _healing(healing: Healing | None) -> str:
    """What the operator does about it."""
    if healing is None:
        return ""
    if healing.why_not is not None:
        return f". The operator starts none of them anew: {healing.why_not}"
    return ". The operator has them stopped and started anew, one a minute at most"


def _who(lapses: Sequence[Lapse]) -> str:
    """The first of them, each with how long it lasts."""
    return first_of([f"{lapse.pod} (for over {coarse(lapse.seconds)})" for lapse in lapses], NAMED)
