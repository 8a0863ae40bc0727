"""Condition DrainLongEnough: whether a pod that is deleted has time to end what its tasks may take; pure."""

import math
from typing import Final

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import WorkerReport
from celeriac.pool.model import SHUTDOWN_SECONDS, InvalidPool, PoolType, WorkerPool
from celeriac.reporting.view import DRAIN_LONG_ENOUGH, Condition, View, invalid

LIMITED: Final = frozenset({PoolType.PREFORK, PoolType.GEVENT, PoolType.CUSTOM})
"""Pools in which Celery ends a task at its hard time limit."""
LONGEST_SECONDS: Final = 31_536_000
"""What drain.timeoutSeconds may be at most."""
HASTY_INITS: Final = {
    "s6-svscan": "S6_KILL_GRACETIME (3 s)",
    "my_init": "KILL_PROCESS_TIMEOUT (5 or 30 s)",
    "supervisord": "stopwaitsecs (10 s)",
}
"""Inits that kill what still runs after a time of their own, by the kernel's name, and what sets that time. The first
two send SIGTERM to every process of the container before, prefork's children included."""


def drain_long_enough(view: View) -> Condition:
    """By what the workers that stay say of the app's settings; tasks that set a limit of their own are not known."""
    pool, outcome = view.known.spec, view.outcome
    if isinstance(pool, InvalidPool):
        return invalid(DRAIN_LONG_ENOUGH)
    if not pool.agent:
        return Condition.unknown(
            DRAIN_LONG_ENOUGH, Reason.AGENT_DISABLED, "workers without the agent do not tell their time limits"
        )
    reports = outcome.workers.reports() if outcome is not None and outcome.workers is not None else []
    if not reports:
        return Condition.of(DRAIN_LONG_ENOUGH, True, Reason.LONG_ENOUGH, "no worker has told a time limit")
    for name, report in reports:
        if report.init in HASTY_INITS:
            return Condition.of(DRAIN_LONG_ENOUGH, False, Reason.INIT_ENDS_FIRST, _init_ends_first(name, report.init))
    name, report = max(reports, key=lambda each: each[1].time_limit or math.inf)
    if pool.pool_type not in LIMITED or report.time_limit is None:
        message = (
            f"tasks have no hard time limit; one that takes over {pool.drain_timeout_seconds} s is killed with its"
        )
        return Condition.unknown(
            DRAIN_LONG_ENOUGH, Reason.NO_TIME_LIMIT, f"{message} pod in a rollout, a node drain or a deletion"
        )
    needed = math.ceil(report.time_limit) + SHUTDOWN_SECONDS
    if needed <= pool.drain_timeout_seconds:
        message = f"tasks are ended after {report.time_limit:g} s, pods have {pool.drain_timeout_seconds} s to stop"
        return Condition.of(DRAIN_LONG_ENOUGH, True, Reason.LONG_ENOUGH, message)
    return Condition.of(DRAIN_LONG_ENOUGH, False, Reason.DRAIN_TOO_SHORT, _too_short(pool, name, report, needed))


def _init_ends_first(name: str, init: str) -> str:
    return (
        f"PID 1 in {name} is {init}, which kills what runs after {HASTY_INITS[init]}, whatever"
        " spec.drain.timeoutSeconds says: in a node drain or a deletion running tasks are killed; leave it out of"
        " spec.launcher (start python itself), or take an init that only hands signals on, like tini"
    )


def _too_short(pool: WorkerPool, name: str, report: WorkerReport, needed: int) -> str:
    lost = {
        True: "runs again elsewhere (it is acknowledged late)",
        False: "is lost (it is acknowledged early)",
        None: "is lost or runs again",
    }[report.acks_late]
    cure = f"set spec.drain.timeoutSeconds: {needed}, or lower" if needed <= LONGEST_SECONDS else "lower"
    return (
        f"a task may run for {report.time_limit:g} s (the hard time limit in {name}), and pods have"
        f" {pool.drain_timeout_seconds} s to stop: in a rollout, a node drain or a deletion a longer one is killed and"
        f" {lost}; {cure} task_time_limit"
    )
