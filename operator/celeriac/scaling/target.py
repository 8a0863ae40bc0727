"""From demand to replicas: the two targets, and the sentence that lets a person redo the sum.

Symbols as in docs/scaling.md: q waiting, a running, S slots per replica, R runtime in seconds, lambda arrivals per
second, W the wanted wait in seconds, C the cold start in seconds, p current replicas.
"""

import math
from dataclasses import dataclass

from celeriac.scaling.eta import is_near, must_be_held
from celeriac.scaling.policy import Policy, QueueWaitTarget
from celeriac.scaling.workload import Demand

DUST = 1e-9
"""Relative error that floating point may leave: 3.0000000001 replicas are 3."""


@dataclass(frozen=True, slots=True)
class Need:
    """What the target asks for.

    replicas  whole replicas
    load      the same before rounding and before the head start for new pods: what the tolerance is measured on
    sentence  the sum, in words and numbers
    """

    replicas: int
    load: float
    sentence: str


def replicas_needed(policy: Policy, demand: Demand) -> Need:
    """Return what the pool's target asks for, never 0 while workers hold anything; none go while the broker is full."""
    need = _needed(policy, demand)
    if not demand.refused or need.replicas >= demand.current_replicas:
        return need
    kept = demand.current_replicas
    sentence = f"{need.sentence}; the broker refuses writes, so that no replica is removed: {count(kept, 'replica')}"
    return Need(kept, float(kept), sentence)


def _needed(policy: Policy, demand: Demand) -> Need:
    if not (demand.waiting or demand.running):
        return _without_tasks(policy, demand)
    if isinstance(policy.target, QueueWaitTarget):
        return _for_queue_wait(policy.target.seconds, policy.slots, demand)
    return _for_tasks_per_slot(policy.target.tasks, policy.slots, demand)


def count(number: int, noun: str) -> str:
    """Return "1 replica", "2 replicas"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _without_tasks(policy: Policy, demand: Demand) -> Need:
    kept = min(1, demand.current_replicas)
    if must_be_held(demand):
        return Need(1, 0.0, f"{count(demand.scheduled, 'scheduled task')} held by workers: 1 replica")
    if is_near(policy, demand):
        return Need(1, 0.0, "nothing waiting, but an ETA task is due too soon to be without a worker: 1 replica")
    if not demand.exact:
        return Need(kept, 0.0, f"nothing waiting, but what workers hold is an estimate: {count(kept, 'replica')}")
    if demand.held_elsewhere:
        held = f"{count(demand.held_elsewhere, 'message')} held by workers outside the pool"
        return Need(kept, 0.0, f"nothing waiting, but {held}: {count(kept, 'replica')}")
    if demand.agent and demand.scheduled + demand.deferred:
        ahead = count(demand.scheduled + demand.deferred, "ETA task")
        return Need(0, 0.0, f"nothing waiting or running, {ahead} not yet due: 0 replicas")
    return Need(0, 0.0, "nothing waiting, running or scheduled: 0 replicas")


def _for_tasks_per_slot(tasks_per_slot: float, slots: int, demand: Demand) -> Need:
    load = (demand.waiting + demand.running) / (slots * tasks_per_slot)
    replicas = _whole(load)
    rate = f"{tasks_per_slot:g} {'task' if tasks_per_slot == 1 else 'tasks'} per slot"
    return Need(replicas, load, f"{_tasks(demand)} at {rate} over {_per(slots)}: {count(replicas, 'replica')}")


def _for_queue_wait(wait: float, slots: int, demand: Demand) -> Need:
    """Size for the wait; if that asks for more pods, size again for the time left once they have started (W - C).

    Spare capacity is q/H, so a backlog decays with time constant H; the shorter second horizon is a dead band: pods
    that were just added are not found superfluous, nor too few, by the next reading.
    """
    busy, sentence = _slots_within(wait, slots, demand)
    load = busy / slots
    replicas = _whole(load)
    if replicas > demand.current_replicas:
        busy, sentence = _slots_within(max(wait - demand.cold_start_seconds, wait / 2), slots, demand)
        replicas = _whole(busy / slots)
    return Need(replicas, load, f"{sentence}: {count(replicas, 'replica')}{_remark(demand)}")


def _slots_within(horizon: float, slots: int, demand: Demand) -> tuple[float, str]:
    """Return f(H) = min(a + q, max(a, lambda R + q R / H)) in slots, and the term that decided it."""
    tasks = demand.waiting + demand.running
    runtime = demand.runtime_seconds
    if runtime is None:
        return tasks, f"{_tasks(demand)} over {_per(slots)}"
    flow = (demand.arrival_rate + demand.waiting / horizon) * runtime
    if flow >= tasks:
        return tasks, f"{_tasks(demand)} over {_per(slots)}"
    if flow <= demand.running:
        waiting = f" ({demand.waiting} waiting can start within {horizon:g} s)" if demand.waiting else ""
        return demand.running, f"{demand.running} running{waiting} over {_per(slots)}"
    rate = f"{demand.arrival_rate:.3g}/s x {runtime:.3g} s + {demand.waiting} waiting x {runtime:.3g} s / {horizon:g} s"
    return flow, f"{rate} = {flow:.3g} slots over {_per(slots)}"


def _remark(demand: Demand) -> str:
    return " (runtime not yet known)" if demand.runtime_seconds is None else ""


def _tasks(demand: Demand) -> str:
    return f"{demand.waiting} waiting + {demand.running} running"


def _per(slots: int) -> str:
    return f"{count(slots, 'slot')} per replica"


def _whole(replicas: float) -> int:
    """Round up, but not for dust; any task at all needs one replica, be it ever so short."""
    return max(1, math.ceil(replicas - DUST * max(1.0, replicas)))
