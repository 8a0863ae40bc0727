"""What is really done about a decision: `plan` stands between the count that is wanted and the tasks that run."""

from celeriac import reasons
from celeriac.scaling.types import Decision, Demand, Doubt, Mode, Plan, Policy, Workload


def plan(policy: Policy, decision: Decision, demand: Demand | Doubt, workload: Workload) -> Plan:
    """Return the replicas to set now, or why a change waits.

    More replicas are set at once. Fewer only when no task can be hit; nothing here depends on the rules by which
    `decide` came to its count.
    """
    current, wanted = workload.replicas, decision.replicas
    if policy.mode is Mode.PAUSED:
        return Plan(None, reasons.PAUSED, decision.message)
    if wanted == current:
        return Plan(None, reasons.NO_CHANGE, decision.message)
    if policy.mode is Mode.DRY_RUN:
        return Plan(None, reasons.DRY_RUN, f"dry run, would scale {current} -> {wanted}: {decision.message}")
    if wanted < current and (held := _hold_scale_down(policy, demand, workload, wanted)) is not None:
        return held
    return Plan(wanted, reasons.SCALED, f"{current} -> {wanted}: {decision.message}")


def _hold_scale_down(policy: Policy, demand: Demand | Doubt, workload: Workload, wanted: int) -> Plan | None:
    """Return why replicas may not be removed now, None if they may.

    During a rollout the Deployment controller shrinks its ReplicaSets in proportion and was seen to stop pods that a
    single ReplicaSet would have kept: nothing scales down then, not even a pin. Otherwise a pin is the owner's word
    and goes through at once; the pods' grace period protects what they run. Without a pin nothing may wait or be held.
    """
    holding = f"holding at {workload.replicas} instead of {wanted}"
    if workload.rollout_in_progress:
        why = "during a rollout Kubernetes chooses the pods to stop by ReplicaSet, busy or not"
        return Plan(None, reasons.ROLLOUT_IN_PROGRESS, f"{holding}: {why}")
    if policy.pinned_replicas is not None:
        return None
    if isinstance(demand, Doubt):
        return Plan(None, reasons.HOLDING, f"{holding}: {demand.message}")
    if not demand.idle:
        return Plan(None, reasons.TASKS_IN_FLIGHT, f"{holding} until nothing is waiting or held: {_in_flight(demand)}")
    return None


def _in_flight(demand: Demand) -> str:
    counts = f"{demand.waiting} waiting + {demand.running} running + {demand.scheduled} scheduled"
    return counts if demand.exact else f"{counts}, an estimate"
