"""Condition AgentDegraded: whether the agents in the workers can do all that their level says; pure."""

from celeriac.api.reasons import Reason
from celeriac.reporting.view import AGENT_DEGRADED, Condition, View


def agent_degraded(view: View) -> Condition:
    """One worker whose agent cannot is enough for True. The pool works on, so that it stays Ready."""
    outcome = view.outcome
    if view.broker is not None:
        return _unknown(Reason.HOLDING, "the reports cannot be read: see condition BrokerReachable")
    if outcome is None:
        return _unknown(Reason.CREATING, "there is no Deployment yet whose workers could report")
    if outcome.workers is None:
        return Condition.of(AGENT_DEGRADED, False, Reason.AGENT_DISABLED, "workers without the agent promise nothing")
    if outcome.degradation is not None:
        return Condition.of(AGENT_DEGRADED, True, Reason.HOOKS_MISSING, str(outcome.degradation))
    return Condition.of(AGENT_DEGRADED, False, Reason.AGENT_COMPLETE, "no agent lacks what its level needs")


def _unknown(reason: Reason, message: str) -> Condition:
    return Condition(AGENT_DEGRADED, "Unknown", reason, message)
