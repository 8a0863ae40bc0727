"""What becomes of a task that acknowledges late when the prefork child that runs it is killed.

Celery acknowledges it, unless `reject_on_worker_lost` is set: the task is lost, although it was to run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMED = 5  # tasks that a report names
LONGEST_NAME = 120  # characters


def lay_over_lost_children(app: Any, environ: Mapping[str, str]) -> None:
    """Set `reject_on_worker_lost`, if the operator asks for it, where a task has it from the app's configuration.

    Tasks are bound by now and have copied the setting: another way to set it would come too late. One that says False
    where the application says nothing keeps that.
    """
    reject = {"1": True, "0": False}.get(environ.get("CELERIAC_REJECT_ON_WORKER_LOST", ""))
    if reject is None:
        return
    configured = app.conf.task_reject_on_worker_lost
    for task in app.tasks.values():
        if task.reject_on_worker_lost is None or task.reject_on_worker_lost == configured:
            task.reject_on_worker_lost = reject


def lost_with_child(app: Any) -> list[str]:
    """The application's tasks that acknowledge late and are lost with their child, sorted.

    Where False was said, by the task or by the application, somebody has decided so.
    """
    own = ((str(name), task) for name, task in app.tasks.items())
    return sorted(name for name, task in own if not name.startswith("celery.") and _is_lost(task))


def _is_lost(task: Any) -> bool:
    # Celery 5.7 can also send the task again as a retry.
    undecided = task.reject_on_worker_lost is None and not getattr(task, "retry_on_worker_lost", None)
    return bool(task.acks_late) and undecided
