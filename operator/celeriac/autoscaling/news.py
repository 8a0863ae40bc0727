"""What of a pool's step is an event by itself; pure."""

from collections.abc import Mapping

from celeriac.api.notices import Notice
from celeriac.api.reasons import Reason
from celeriac.api.words import first_of
from celeriac.autoscaling.outcome import Outcome
from celeriac.cluster.records import PodRecord
from celeriac.pool.layouts import effective_layout, layout_words
from celeriac.pool.model import QueueLayout, WorkerPool
from celeriac.workers.observer import DEAF_SECONDS


def new_dead_letters(before: Outcome | None, now: Outcome) -> Mapping[str, int]:
    """By queue, messages that nobody will start again, unless somebody puts them back."""
    if before is None or before.dead is None or now.dead is None:
        return {}
    more = {queue: number - before.dead.get(queue, 0) for queue, number in now.dead.items()}
    return {queue: number for queue, number in more.items() if number > 0}


def of_deaf(pool: WorkerPool, before: Outcome | None, now: Outcome) -> tuple[Notice, ...]:
    """A shell that keeps SIGTERM to itself would keep it from each worker."""
    known = {pod.uid for pod in deaf_pods(before)}
    names = sorted(pod.name for pod in deaf_pods(now) if pod.uid not in known)
    if not names:
        return ()
    message = (
        f"SIGTERM has not reached the worker of {first_of(names, 3)}, {DEAF_SECONDS:.0f} s after the pod was deleted:"
        " it is told to stop through the broker"
    )
    return (Notice(pool.key, "Warning", Reason.SIGNAL_LOST, message, "deaf", "Stop"),)


def of_healing(pool: WorkerPool, now: Outcome) -> tuple[Notice, ...]:
    """Who is started anew because it fetches nothing."""
    if now.healing is None or not now.healing.begun:
        return ()
    message = (
        f"worker {first_of(now.healing.begun, 3)} takes none of the tasks that wait, and its slots are free: it is told"
        " to stop, ends what it runs, and its container is started anew"
    )
    return (Notice(pool.key, "Warning", Reason.WORKER_RESTARTED, message, "healing", "Restart"),)


def of_layout(pool: WorkerPool, before: QueueLayout | None, now: QueueLayout | None) -> tuple[Notice, ...]:
    """The counts change at once: their reader should know why."""
    if before == now:
        return ()
    words = layout_words(effective_layout(pool, now))
    message = (
        f"the workers read queues with {words}, and so does the operator from now on; to let it know before the first"
        f" worker of another pool has started, write that into spec.broker"
    )
    return (Notice(pool.key, "Normal", Reason.LAYOUT_LEARNED, message, "layout", "ReadReports"),)


def deaf_pods(outcome: Outcome | None) -> list[PodRecord]:
    """Deleted Pods whose workers go on."""
    return outcome.workers.deaf if outcome is not None and outcome.workers is not None else []
