"""When a pool may sleep although tasks with an ETA are ahead, and when it wakes for them. Pure.

A worker that drains gives the ETA tasks that it holds back to their queue, where the operator finds them and reads when
the first is due. At the workers that moment is not known, so what was read once is remembered: it keeps a pool from
asking its workers again and again for tasks that are due soon.
"""

from dataclasses import replace

from celeriac.scaling.decision import History
from celeriac.scaling.policy import Policy
from celeriac.scaling.workload import Demand, Doubt

RESTING_MESSAGES = 100
"""So many ETA tasks of a pool may rest in its queues: longer queues are not looked through."""

WAKE_MARGIN_SECONDS = 2.0
"""A sleeping pool is woken so much earlier than a pod takes to start: a tick, a reading, and the write of a replica."""

REPORT_SECONDS = 2.0
"""A task that fell due at its worker is shown as running within this time."""


def recall(history: History, demand: Demand, now: float) -> tuple[History, Demand]:
    """Return both with the earliest ETA that is known: the one just read, or one read before of a task now held."""
    if not demand.agent:
        return history, demand
    read, remembered = demand.next_eta_seconds, history.next_eta_at
    candidates = [] if read is None else [now + read]
    if demand.scheduled and remembered is not None and remembered > now - REPORT_SECONDS:
        candidates.append(remembered)
    at = min(candidates, default=None)
    return replace(history, next_eta_at=at), replace(demand, next_eta_seconds=None if at is None else at - now)


def must_be_held(demand: Demand) -> bool:
    """Whether the scheduled tasks need a worker to hold them.

    Without the agent nobody knows them once they rest; nor where they are too many to be looked through. Workers that
    cannot drain cannot be asked for them.
    """
    resting = demand.agent and demand.gives_back and demand.scheduled + demand.deferred <= RESTING_MESSAGES
    return demand.scheduled > 0 and not resting


def seconds_ahead(policy: Policy, demand: Demand) -> float:
    """How long before the next ETA a worker is needed for it.

    A sleeping pool wakes when a pod just comes in time. One that is awake stays so for what is due within
    scaleToZeroAfterSeconds: it would not sleep for longer than it takes to fall asleep.
    """
    seconds = demand.cold_start_seconds + WAKE_MARGIN_SECONDS
    return max(seconds, policy.scale_to_zero_after_seconds) if demand.current_replicas else seconds


def is_near(policy: Policy, demand: Demand) -> bool:
    """Whether a worker is needed for the next ETA."""
    if not demand.agent or demand.next_eta_seconds is None:
        return False
    return demand.next_eta_seconds <= seconds_ahead(policy, demand)


def is_quiet(policy: Policy, demand: Demand) -> bool:
    """Whether the pool may fall asleep: nothing waits, runs, or is held elsewhere, and no ETA needs a worker."""
    busy = demand.waiting or demand.running or demand.held_elsewhere
    return demand.exact and not busy and not must_be_held(demand) and not is_near(policy, demand)


def observe(history: History, policy: Policy, demand: Demand | Doubt, now: float) -> History:
    """Start, keep or stop the clock of idleness. A doubt stops it: what was not read was not seen to be idle."""
    if isinstance(demand, Doubt) or not is_quiet(policy, demand):
        return replace(history, idle_since=None)
    return history if history.idle_since is not None else replace(history, idle_since=now)
