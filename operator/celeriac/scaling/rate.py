"""How fast replicas may change: the rate policies of a HorizontalPodAutoscalerBehavior."""

from dataclasses import dataclass

from celeriac.scaling.decision import ScaleChange
from celeriac.scaling.policy import PolicyType, RatePolicy, ScalingRules, SelectPolicy

UP_WHILE_RUNTIME_UNKNOWN = (RatePolicy(PolicyType.PODS, value=10, period_seconds=10),)
"""Ten thousand waiting tasks may be a second's work or a day's. Until that is known, pods come ten at a time."""

DOWN = (RatePolicy(PolicyType.PERCENT, value=100, period_seconds=15),)
"""The HPA's own default: down to nothing, if the window agrees."""


def policies_up(rules: ScalingRules, *, runtime_known: bool) -> tuple[RatePolicy, ...]:
    """Return the owner's policies for growing, or the operator's; none limit a pool whose tasks' runtime is known."""
    return rules.policies or (() if runtime_known else UP_WHILE_RUNTIME_UNKNOWN)


def policies_down(rules: ScalingRules) -> tuple[RatePolicy, ...]:
    """Return the owner's policies for shrinking, or the operator's."""
    return rules.policies or DOWN


@dataclass(frozen=True, slots=True)
class Bound:
    """The furthest count that a rate allows now, and the policy that says so."""

    replicas: int
    sentence: str


def upper_bound(
    rules: ScalingRules, current: int, changes: tuple[ScaleChange, ...], now: float, *, runtime_known: bool
) -> Bound | None:
    """Return how far a pool may grow now, None without a limit (the default once the tasks' runtime is known)."""
    if rules.select_policy is SelectPolicy.DISABLED:
        return Bound(current, "behavior.scaleUp is Disabled")
    policies = policies_up(rules, runtime_known=runtime_known)
    bounds = [_bound(policy, current, changes, now, direction=1) for policy in policies]
    if not bounds:
        return None
    chosen = (min if rules.select_policy is SelectPolicy.MIN else max)(bounds, key=lambda bound: bound.replicas)
    return Bound(max(chosen.replicas, current), chosen.sentence)


def lower_bound(rules: ScalingRules, current: int, changes: tuple[ScaleChange, ...], now: float) -> Bound:
    """Return how far a pool may shrink now."""
    if rules.select_policy is SelectPolicy.DISABLED:
        return Bound(current, "behavior.scaleDown is Disabled")
    bounds = [_bound(policy, current, changes, now, direction=-1) for policy in policies_down(rules)]
    chosen = (max if rules.select_policy is SelectPolicy.MIN else min)(bounds, key=lambda bound: bound.replicas)
    return Bound(min(chosen.replicas, current), chosen.sentence)


def _bound(policy: RatePolicy, current: int, changes: tuple[ScaleChange, ...], now: float, *, direction: int) -> Bound:
    """Apply one policy to the count at the start of its period, as the HPA does.

    Percentages round in favour of the change, in whole numbers: 10 % of 72 are 8, and 110 % of 100 are 110, not 111.
    Percent of 0 counts as percent of 1, else a pool at zero could never grow.
    """
    start = max(0, current - sum(c.change for c in changes if c.at > now - policy.period_seconds))
    if policy.type is PolicyType.PODS:
        amount, unit = policy.value, "pod" if policy.value == 1 else "pods"
    else:
        amount, unit = -(-max(1, start) * policy.value // 100), "%"
    return Bound(start + direction * amount, f"at most {policy.value} {unit} per {policy.period_seconds} s")
