"""How many replicas a pool should have, and why.

`decide` is pure. What was read goes through named steps in the order of the Kubernetes HPA: target, tolerance,
stabilization, rate, bounds; then the rule for zero, which the HPA does not have. Each step hands on a count and a
sentence, so that the count that acts and the sentence that explains it cannot differ. No sentence counts seconds down:
it may be read long after it was made, and who reads it can tell the time (`status.decision`).
"""

from dataclasses import dataclass

from celeriac.api.reasons import Reason
from celeriac.scaling.decision import Decision, History, Limit, Stage
from celeriac.scaling.eta import observe, recall
from celeriac.scaling.history import fresh_history, record_change, remember
from celeriac.scaling.policy import Mode, Policy, QueueWaitTarget, SelectPolicy
from celeriac.scaling.rate import lower_bound, upper_bound
from celeriac.scaling.target import DUST, Need, count, replicas_needed
from celeriac.scaling.workload import Demand, Doubt

__all__ = ["decide", "fresh_history", "record_change", "stages"]


@dataclass(frozen=True, slots=True)
class _Step:
    """What one step hands to the next."""

    replicas: int
    message: str
    limit: Limit | None = None


def decide(policy: Policy, demand: Demand | Doubt, history: History, now: float) -> Decision:
    """Return how many replicas the pool should have at `now`, why, and the history for the next call.

    `now` and all times in `history` are seconds on one monotonic clock. The mode beats the pin: a paused pool is left
    alone whatever its replicas say. The pin beats a doubt: it needs no broker.
    """
    if isinstance(demand, Demand):
        history, demand = recall(history, demand, now)
    history = observe(history, policy, demand, now)
    if policy.mode is Mode.PAUSED:
        message = f"scaling.mode is Paused: {count(demand.current_replicas, 'replica')} left as they are"
        return _without_demand(policy, history, now, demand.current_replicas, Reason.PAUSED, message)
    if policy.pinned_replicas is not None:
        message = f"pinned at {policy.pinned_replicas} by spec.replicas: minReplicas and maxReplicas do not apply"
        return _without_demand(policy, history, now, policy.pinned_replicas, Reason.PINNED, message)
    if isinstance(demand, Doubt):
        return _in_doubt(policy, demand, history, now)
    return _from_demand(policy, demand, history, now)


def _without_demand(
    policy: Policy, history: History, now: float, replicas: int, reason: str, message: str, limit: Limit | None = None
) -> Decision:
    """Return a count that was not computed from demand.

    It is remembered as a recommendation: once demand decides again, the pool shrinks no sooner than after one
    scale-down window.
    """
    history = remember(history, policy.behavior, replicas, now)
    return Decision(replicas, reason, message, active=False, limit=limit, history=history)


def _in_doubt(policy: Policy, doubt: Doubt, history: History, now: float) -> Decision:
    """Hold while the broker cannot be read, then follow `fallback`, but upwards only: unknown is never zero."""
    held = max(doubt.current_replicas, policy.min_replicas)
    fallback = policy.fallback
    if fallback is None or now - doubt.since < fallback.after_seconds:
        message = f"holding at {held}: {doubt.message}"
        return _without_demand(policy, history, now, held, Reason.HOLDING, message)
    replicas = max(held, min(fallback.replicas, policy.max_replicas))
    if replicas > fallback.replicas:
        outcome = f", holding at {replicas} (a doubt never scales down)"
    elif replicas < fallback.replicas:
        outcome = f", limited to {replicas} by {policy.max_replicas_of}"
    else:
        outcome = ""
    message = f"fallback of {fallback.replicas}{outcome}: unreadable for {fallback.after_seconds:g} s: {doubt.message}"
    return _without_demand(policy, history, now, replicas, Reason.FALLBACK, message)


def stages(policy: Policy, demand: Demand, history: History, now: float) -> list[Stage]:
    """Return what each step of `decide` makes of a count, in their order; one for each, also where it changes nothing.

    Of a pool whose demand decides: for one that is paused or pinned no step is taken.
    """
    history, demand = recall(history, demand, now)
    need, steps, _ = _steps(policy, demand, observe(history, policy, demand, now), now)
    found, told = [Stage("target", need.replicas, need.sentence)], need.sentence
    for name, step in zip(("tolerance", "stabilization", "rate", "bounds", "zero"), steps, strict=True):
        # A step puts its own words before or behind those of the steps before it.
        found.append(Stage(name, step.replicas, step.message.replace(told, "").strip("; ")))
        told = step.message
    return found


def _from_demand(policy: Policy, demand: Demand, history: History, now: float) -> Decision:
    _, steps, history = _steps(policy, demand, history, now)
    step, wanted = steps[-1], steps[0].replicas
    reason = _reason(step, demand, wanted)
    limit = step.limit or _unreachable_target(policy, demand)
    return Decision(step.replicas, reason, step.message, limit=limit, history=history)


def _steps(policy: Policy, demand: Demand, history: History, now: float) -> tuple[Need, list[_Step], History]:
    """What the target asks for, what each step makes of it, in their order, and the history with the wish in it."""
    need = replicas_needed(policy, demand)
    step = _tolerate(policy, demand, need)
    steps, history = [step], remember(history, policy.behavior, step.replicas, now)
    steps.append(_stabilize(steps[-1], policy, demand, history, now))
    steps.append(_limit_rate(steps[-1], policy, demand, history, now))
    steps.append(_clamp(steps[-1], policy))
    steps.append(_rule_for_zero(steps[-1], policy, demand, history, now))
    return need, steps, history


def _unreachable_target(policy: Policy, demand: Demand) -> Limit | None:
    """Say so where no number of new pods could keep the wanted wait, unless something else limits already."""
    target, start = policy.target, demand.cold_start_seconds
    if not isinstance(target, QueueWaitTarget) or start < target.seconds:
        return None
    message = f"a pod takes {start:.3g} s to start: a task that needs a new one waits longer than {target.seconds:g} s"
    return Limit(Reason.TARGET_BELOW_COLD_START, f"{message} (target.queueWaitSeconds)")


def _tolerate(policy: Policy, demand: Demand, need: Need) -> _Step:
    """Keep the current count while the load is close to it (HPA: 1 - scaleDown <= ratio <= 1 + scaleUp).

    No load at all is never close: a tolerance of 1 must not keep an idle pool.
    """
    current = demand.current_replicas
    down, up = policy.behavior.scale_down.tolerance, policy.behavior.scale_up.tolerance
    close = (1 - down) * current - DUST <= need.load <= (1 + up) * current + DUST
    if need.replicas == current or need.load == 0 or not close:
        return _Step(need.replicas, need.sentence)
    tolerance = down if need.replicas < current else up
    return _Step(current, f"{current} is within the tolerance of {tolerance:.0%}; {need.sentence}")


def _zero_is_due(policy: Policy, history: History, now: float) -> bool:
    if policy.min_replicas > 0 or history.idle_since is None:
        return False
    return now - history.idle_since >= policy.scale_to_zero_after_seconds


def _stabilize(step: _Step, policy: Policy, demand: Demand, history: History, now: float) -> _Step:
    """Take the safest recommendation of the windows (HPA), with two exceptions at zero.

    Zero has a clock of its own, scaleToZeroAfterSeconds, so the scale-down window neither delays nor hastens it; and
    no scale-up window may keep a pool at zero while something is to be done (KEDA calls that activation).
    """
    current = demand.current_replicas
    if _zero_is_due(policy, history, now):
        return step
    lowest, highest = history.lowest[0].replicas, history.highest[0].replicas
    replicas = min(max(current, lowest), highest)
    if current == 0 and step.replicas > 0:
        replicas = max(replicas, 1)
    if replicas == step.replicas:
        return step
    rules, reason, which, extreme = policy.behavior.scale_down, Reason.SCALE_DOWN_STABILIZED, "highest", highest
    if step.replicas > current:
        rules, reason, which, extreme = policy.behavior.scale_up, Reason.SCALE_UP_STABILIZED, "lowest", lowest
    verb = "holding at" if replicas == current else "going to"
    differs = "" if extreme == replicas else f" is {extreme}"
    seconds = rules.stabilization_window_seconds
    why = f"{verb} {replicas}: the {which} recommendation of the last {seconds} s{differs}"
    return _Step(replicas, f"{why}; {step.message}", Limit(reason, why))


def _limit_rate(step: _Step, policy: Policy, demand: Demand, history: History, now: float) -> _Step:
    """Change no faster than `behavior` allows; the first replica of a pool at zero is never refused."""
    current, behavior = demand.current_replicas, policy.behavior
    if step.replicas > current:
        known = demand.runtime_seconds is not None
        bound = upper_bound(behavior.scale_up, current, history.changes, now, runtime_known=known)
        allowed = step.replicas if bound is None else max(bound.replicas, 1)
        if bound is not None and allowed < step.replicas:
            return _limited(step, allowed, Reason.SCALE_UP_LIMIT, f"limited to {allowed}: {bound.sentence}")
    elif step.replicas < current:
        bound = lower_bound(behavior.scale_down, current, history.changes, now)
        if bound.replicas > step.replicas:
            sentence = f"limited to {bound.replicas}: {bound.sentence}"
            return _limited(step, bound.replicas, Reason.SCALE_DOWN_LIMIT, sentence)
    return step


def _clamp(step: _Step, policy: Policy) -> _Step:
    least, most = policy.min_replicas, policy.max_replicas
    if step.replicas > most:
        return _limited(step, most, Reason.TOO_MANY_REPLICAS, f"limited to {most} by {policy.max_replicas_of}")
    if step.replicas < least:
        return _limited(step, least, Reason.TOO_FEW_REPLICAS, f"raised to {least} by minReplicas")
    return step


def _limited(step: _Step, replicas: int, reason: str, sentence: str) -> _Step:
    return _Step(replicas, f"{step.message}; {sentence}", Limit(reason, sentence))


def _rule_for_zero(step: _Step, policy: Policy, demand: Demand, history: History, now: float) -> _Step:
    """Keep one warm replica from the end of demand until scaleToZeroAfterSeconds have passed."""
    never = policy.min_replicas > 0 or policy.behavior.scale_down.select_policy is SelectPolicy.DISABLED
    if never or history.idle_since is None or demand.current_replicas == 0 or step.replicas > 1:
        return step
    idle = now - history.idle_since
    ahead = demand.scheduled + demand.deferred
    if ahead and demand.agent:
        quiet = f"nothing waiting or running, {count(ahead, 'ETA task')} not yet due"
    else:
        quiet = "nothing waiting, running or scheduled"
    after = policy.scale_to_zero_after_seconds
    if idle < after:
        kept = "" if demand.current_replicas == 1 else "1 kept warm, "
        return _Step(1, f"{kept}0 after {after} s of {quiet}")
    return _Step(0, f"0 after {after} s of {quiet}") if step.replicas == 0 else step


def _reason(step: _Step, demand: Demand, wanted: int) -> str:
    current = demand.current_replicas
    if step.replicas != current:
        return _reason_of_change(step.replicas, current, wanted)
    if wanted > current:
        return Reason.BACKLOG
    if current == 0:
        return Reason.IDLE
    if wanted == current:
        return Reason.WITHIN_TARGET
    if step.limit is None:
        return Reason.ZERO_PENDING
    if step.limit.reason == Reason.SCALE_DOWN_STABILIZED:
        return Reason.STABILIZED
    if step.limit.reason == Reason.TOO_FEW_REPLICAS:
        return Reason.IDLE if demand.idle else Reason.TOO_FEW_REPLICAS
    return Reason.DEMAND_FELL


def _reason_of_change(replicas: int, current: int, wanted: int) -> str:
    if replicas > current:
        return Reason.BACKLOG if wanted > current else Reason.TOO_FEW_REPLICAS
    if replicas == 0:
        return Reason.SCALE_TO_ZERO
    return Reason.DEMAND_FELL if wanted < current else Reason.TOO_MANY_REPLICAS
