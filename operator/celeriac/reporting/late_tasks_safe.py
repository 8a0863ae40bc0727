"""Condition LateTasksSafe: whether a task that acknowledges late survives the death of the child that runs it; pure."""

from typing import Final

from celeriac.api.reasons import Reason
from celeriac.api.words import foreign
from celeriac.pool.model import InvalidPool, PoolType
from celeriac.reporting.view import LATE_TASKS_SAFE, Condition, View, invalid

WITH_CHILDREN: Final = frozenset({PoolType.PREFORK, PoolType.CUSTOM})


def late_tasks_safe(view: View) -> Condition:
    """By what the workers that stay say of the tasks of their app."""
    pool, outcome = view.known.spec, view.outcome
    if isinstance(pool, InvalidPool):
        return invalid(LATE_TASKS_SAFE)
    if pool.pool_type not in WITH_CHILDREN:
        return Condition.of(LATE_TASKS_SAFE, True, Reason.NO_CHILDREN, "tasks run in the worker's own process")
    if not pool.agent:
        return Condition.unknown(
            LATE_TASKS_SAFE, Reason.AGENT_DISABLED, "workers without the agent do not tell how their tasks acknowledge"
        )
    reports = outcome.workers.reports() if outcome is not None and outcome.workers is not None else []
    poor = next((report for _, report in reports if report.at_risk), None)
    if poor is None:
        said = "each late task is put back" if reports else "no worker has told of a late task that is lost"
        return Condition.of(LATE_TASKS_SAFE, True, Reason.LATE_TASKS_RETURN, f"{said} when its child is killed")
    more = f" and {poor.at_risk - len(poor.tasks_at_risk)} more" if poor.at_risk > len(poor.tasks_at_risk) else ""
    return Condition.of(
        LATE_TASKS_SAFE,
        False,
        Reason.LOST_WITH_CHILD,
        f"{poor.at_risk} tasks acknowledge late and are lost when the child that runs them is killed (out of memory, a"
        f" segmentation fault): Celery acknowledges them then. {foreign(', '.join(poor.tasks_at_risk))}{more}. Set"
        " spec.worker.rejectOnWorkerLost: true (from spec.agent: inflight on), or task_reject_on_worker_lost in the"
        " app; or false there, if such a task must not run again",
    )
