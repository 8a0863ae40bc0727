"""What is really done about a decision: `plan` stands between the count that is wanted and the tasks that run."""

from dataclasses import replace

from celeriac.api.reasons import Reason
from celeriac.api.words import first_of
from celeriac.scaling.decision import Decision, Plan
from celeriac.scaling.policy import Mode, Policy
from celeriac.scaling.removal_order import active, certain
from celeriac.scaling.rollout import (
    Sides,
    another_try,
    has_begun,
    in_the_way,
    is_patient_no_more,
    largest_cuts,
    retirement,
    to_go,
    to_make_room,
    tolerable,
)
from celeriac.scaling.victims import Marks, choose, is_safe, keep, released
from celeriac.scaling.workload import Demand, Doubt, Pod, Workload

NAMED_PODS = 3
"""A sentence names so many pods at most."""


def plan(policy: Policy, decision: Decision, demand: Demand | Doubt, workload: Workload) -> Plan:
    """Return the replicas to set now, the marks to change, or why a change waits.

    More replicas are set at once. Fewer only when no task can be hit; nothing here depends on the rules by which
    `decide` came to its count. A rollout goes on whatever becomes of the count.
    """
    current, wanted = workload.replicas, decision.replicas
    workload = replace(workload, pods=active(workload.pods))
    sides = Sides.of(workload, workload.rollout) if workload.rollout is not None else None
    marks = _marks(policy, demand, workload, wanted)
    held = Plan(None, Reason.NO_CHANGE, decision.message, marks.drain, marks.undrain)
    if sides is not None:
        held = _rollout(policy, decision, demand, workload, sides)
    if policy.mode is Mode.PAUSED:
        return replace(held, reason=Reason.PAUSED)
    if wanted == current:
        return held
    if policy.mode is Mode.DRY_RUN:
        message = f"dry run, would scale {current} -> {wanted}: {decision.message}"
        return replace(held, reason=Reason.DRY_RUN, message=message)
    if wanted > current:
        message = _scaled(decision, current, wanted)
        return replace(held, replicas=wanted, reason=Reason.SCALED, message=message, retire=None)
    if sides is not None:
        return _fewer_in_rollout(policy, decision, demand, workload, sides) or replace(
            held,
            reason=Reason.ROLLOUT_IN_PROGRESS,
            message=f"{_holding(decision, workload)} until the rollout has ended",
        )
    if workload.rollout_in_progress:
        why = "during a rollout Kubernetes chooses the pods to stop by ReplicaSet, busy or not"
        return replace(held, reason=Reason.ROLLOUT_IN_PROGRESS, message=f"{_holding(decision, workload)}: {why}")
    if workload.agent:
        return _drain(policy, decision, demand, workload, marks)
    return _without_agent(policy, decision, demand, workload)


def _marks(policy: Policy, demand: Demand | Doubt, workload: Workload, wanted: int) -> Marks:
    """Return who is to drain.

    In doubt nothing changes. A pool that is not scaled (Paused, DryRun) works with all its pods. A rollout gets no new
    victims, but demand that returns gets its workers back.
    """
    if not workload.agent or isinstance(demand, Doubt):
        return Marks()
    if policy.mode is not Mode.AUTO:
        return keep(workload, workload.replicas)
    if workload.rollout_in_progress:
        return keep(workload, wanted)
    return choose(workload, wanted)


def _rollout(policy: Policy, decision: Decision, demand: Demand | Doubt, workload: Workload, sides: Sides) -> Plan:
    """Let old pods make room where new ones have none. In doubt nobody is known to have drained."""
    doubt = isinstance(demand, Doubt)
    victims = to_make_room(policy.strategy, workload, sides)
    acceptable = tolerable(anyone=_is_quiet(demand, workload) or is_patient_no_more(sides.rollout))
    retire = retirement(victims, sides, lambda pod: acceptable(pod) and not (doubt and pod.drainable))
    retire = retire or another_try(sides)
    if retire is not None and not workload.unseen:
        return Plan(None, Reason.NO_CHANGE, decision.message, retire=retire)
    marks = Marks() if doubt or not workload.agent else sides.marks(victims)
    return Plan(None, Reason.NO_CHANGE, decision.message, marks.drain, marks.undrain, released(marks.victims))


def _fewer_in_rollout(
    policy: Policy, decision: Decision, demand: Demand | Doubt, workload: Workload, sides: Sides
) -> Plan | None:
    """Let the replicas go down although old and new pods are beside each other; None: the rollout shall end first.

    A pin and a pool that needs nobody do not wait for that. Other changes wait while new workers take over: the
    controller would take some of them.
    """
    pinned, wanted = policy.pinned_replicas is not None, decision.replicas
    if isinstance(demand, Doubt) and (workload.agent or not pinned):
        return Plan(None, Reason.HOLDING, f"{_holding(decision, workload)}: {demand.message}")
    anyone = pinned or _is_quiet(demand, workload)
    scaled = Plan(wanted, Reason.SCALED, _scaled(decision, workload.replicas, wanted))
    if not workload.agent:
        return scaled if anyone else None
    if not (pinned or not wanted or not has_begun(sides)):
        return None
    cuts = largest_cuts(policy.strategy, workload, sides, wanted)
    obstacles = in_the_way(sides, cuts, tolerable(anyone=anyone))
    if not obstacles and not workload.unseen:
        return scaled
    if any(not (pod.drainable or pod.is_stopped_at_rest) for pod in obstacles) and not anyone:
        return None
    marks = sides.marks(to_go(sides, cuts))
    wait = f"until drained: {_names(obstacles)}" if obstacles else "until all its pods are known"
    message = f"{_holding(decision, workload)} {wait}"
    return Plan(None, Reason.DRAINING, message, marks.drain, marks.undrain, released(marks.victims))


def _is_quiet(demand: Demand | Doubt, workload: Workload) -> bool:
    """Whether it is certain that nobody holds anything, those that nobody sees included."""
    return isinstance(demand, Demand) and demand.idle and not workload.hidden


def _drain(policy: Policy, decision: Decision, demand: Demand | Doubt, workload: Workload, marks: Marks) -> Plan:
    """Remove as many as are safe whichever Kubernetes takes; the others drain.

    Marks and removals are never of one plan: a pod that is being marked could be taken for one that has drained, and
    one that is being unmarked could be removed with its first task.
    """
    if isinstance(demand, Doubt):
        return Plan(None, Reason.HOLDING, f"{_holding(decision, workload)}: {demand.message}")
    anyone = policy.pinned_replicas is not None or demand.idle

    def acceptable(pod: Pod) -> bool:
        return is_safe(pod) or (anyone and not pod.drainable)

    wanted, existing = decision.replicas, len(workload.pods) + workload.unseen
    number, obstacles = certain(workload.pods, acceptable)
    if workload.unseen:
        number = 0
    target = max(wanted, existing - number)
    reason, wait = _wait(workload, marks.victims, obstacles, demand, anyone=anyone)
    if target < workload.replicas:
        rest = f"; {target - wanted} more {wait}" if target > wanted else ""
        return Plan(target, Reason.SCALED, _scaled(decision, workload.replicas, target) + rest)
    message = f"{_holding(decision, workload)} {wait}"
    return Plan(None, reason, message, marks.drain, marks.undrain, released(marks.victims))


def _wait(
    workload: Workload, victims: tuple[Pod, ...], obstacles: list[Pod], demand: Demand, *, anyone: bool
) -> tuple[str, str]:
    """Return what a scale-down waits for: the reason, and the end of a sentence."""
    if workload.unseen:
        return Reason.DRAINING, f"until all its pods are known: {workload.unseen} were not seen yet"
    if all(is_safe(pod) for pod in victims) and any(pod.recent_costs for pod in workload.pods):
        return Reason.DRAINING, "until Kubernetes knows whom to stop first"
    chosen = {pod.uid for pod in victims}
    if obstacles and chosen.isdisjoint(pod.uid for pod in obstacles):
        return Reason.DRAINING, f"until drained: Kubernetes would stop {_names(obstacles)} first"
    draining = [pod for pod in victims if pod.drainable and not is_safe(pod)]
    restless = [pod for pod in victims if pod.is_stopped_at_rest and not is_safe(pod)]
    unable = [pod for pod in victims if not pod.drainable and not pod.is_stopped_at_rest]
    if unable and not draining and not anyone:
        why = f"{_names(unable)} cannot drain: {_in_flight(demand)}"
        return Reason.TASKS_IN_FLIGHT, f"until nothing is waiting or held, {why}"
    if restless and not draining and not anyone:
        return Reason.TASKS_IN_FLIGHT, f"until {_names(restless)} at rest for a moment, as they cannot drain"
    return Reason.DRAINING, f"until drained: {_names(draining or obstacles)}"


def _names(pods: list[Pod]) -> str:
    return first_of([f"{pod.name} ({_state(pod)})" for pod in pods], NAMED_PODS)


def _state(pod: Pod) -> str:
    return f"{pod.running} running" if pod.ready else f"not ready, {pod.running} running"


def _without_agent(policy: Policy, decision: Decision, demand: Demand | Doubt, workload: Workload) -> Plan:
    """Remove at once where nothing waits and nothing is held.

    A pin is the owner's word and goes through as it is; the pods' grace period protects what they run.
    """
    holding = _holding(decision, workload)
    if policy.pinned_replicas is None:
        if isinstance(demand, Doubt):
            return Plan(None, Reason.HOLDING, f"{holding}: {demand.message}")
        if not demand.idle:
            message = f"{holding} until nothing is waiting or held: {_in_flight(demand)}"
            return Plan(None, Reason.TASKS_IN_FLIGHT, message)
    return Plan(decision.replicas, Reason.SCALED, _scaled(decision, workload.replicas, decision.replicas))


def _holding(decision: Decision, workload: Workload) -> str:
    return f"holding at {workload.replicas} instead of {decision.replicas}"


def _scaled(decision: Decision, before: int, after: int) -> str:
    return f"{before} -> {after}: {decision.message}"


def _in_flight(demand: Demand) -> str:
    counts = f"{demand.waiting} waiting + {demand.running} running + {demand.scheduled} scheduled"
    elsewhere = f" + {demand.held_elsewhere} held elsewhere" if demand.held_elsewhere else ""
    return f"{counts}{elsewhere}" if demand.exact else f"{counts}{elsewhere}, an estimate"
