"""Condition AgentDegraded: whether the agents in the workers can do all that their level says, and are heard; pure."""

from celeriac.api.reasons import Reason
from celeriac.reporting.view import AGENT_DEGRADED, Condition, View, unheard


def agent_degraded(view: View) -> Condition:
    """One worker whose agent cannot is enough for True. The pool works on, so that it stays Ready."""
    outcome = view.outcome
    if outcome is None or view.broker is not None:
        return unheard(view, AGENT_DEGRADED)
    if outcome.workers is None:
        return Condition.of(AGENT_DEGRADED, False, Reason.AGENT_DISABLED, "workers without the agent promise nothing")
    if outcome.degradation is not None:
        message = ". ".join(filter(None, (str(outcome.degradation), view.uncounted)))
        return Condition.of(AGENT_DEGRADED, True, Reason.HOOKS_MISSING, message)
    if view.uncounted is not None:
        return Condition.of(AGENT_DEGRADED, True, Reason.TASK_COUNTS_UNREADABLE, view.uncounted)
    return Condition.of(AGENT_DEGRADED, False, Reason.AGENT_COMPLETE, "no agent lacks what its level needs")
