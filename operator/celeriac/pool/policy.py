"""spec.scaling, the pin and spec.strategy, as the Policy that `decide` and `plan` take."""

import re
from collections.abc import Iterator
from typing import Final

from celeriac.pool.fields import Fields
from celeriac.pool.model import InvalidPool
from celeriac.pool.strategy import parse_strategy
from celeriac.scaling.policy import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    DEFAULT_TARGET,
    Behavior,
    Fallback,
    Mode,
    Policy,
    PolicyType,
    QueueWaitTarget,
    RatePolicy,
    ScalingRules,
    Target,
    TasksPerSlotTarget,
)

MAX_REPLICAS: Final = 10_000
DEFAULT_MAX_REPLICAS: Final = 20
MAX_TOLERANCE: Final = 1_000_000.0
# Bounds of autoscaling/v2 (k8s.io/kubernetes/pkg/apis/autoscaling/validation), in seconds.
MAX_STABILIZATION: Final = 3600
MAX_PERIOD: Final = 1800

_QUANTITY = re.compile(r"\+?((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)(m?)", re.ASCII)


def parse_policy(spec: Fields, *, slots: int) -> Policy:
    """The policy of a pool whose pods run `slots` tasks at a time. Raises InvalidPool."""
    scaling = spec.child("scaling")
    minimum, maximum = _bounds(scaling)
    return Policy(
        slots=slots,
        min_replicas=minimum,
        max_replicas=maximum,
        target=_target(scaling),
        scale_to_zero_after_seconds=scaling.integer("scaleToZeroAfterSeconds", 300, 0, 604_800),
        behavior=_behavior(scaling),
        fallback=_fallback(scaling),
        mode=scaling.choice("mode", Mode.AUTO),
        pinned_replicas=spec.integer("replicas", None, 0, MAX_REPLICAS),
        strategy=parse_strategy(spec.child("strategy")),
    )


def policy_problems(spec: Fields) -> Iterator[InvalidPool]:
    """What parse_policy would raise for each part of spec.scaling alone, and at last for all of it; some come twice."""
    scaling = spec.child("scaling")
    for part in (_bounds, _target, _behavior, _fallback):
        try:
            part(scaling)
        except InvalidPool as error:
            yield error
    parse_policy(spec, slots=1)


def _bounds(scaling: Fields) -> tuple[int, int]:
    minimum = scaling.integer("minReplicas", 0, 0, MAX_REPLICAS)
    maximum = scaling.integer("maxReplicas", DEFAULT_MAX_REPLICAS, 1, MAX_REPLICAS)
    if minimum > maximum:
        raise scaling.invalid("minReplicas", f"must not be above maxReplicas ({maximum}): lower it or raise the other")
    return minimum, maximum


def _behavior(scaling: Fields) -> Behavior:
    behavior = scaling.child("behavior")
    return Behavior(
        scale_up=_rules(behavior.child("scaleUp"), DEFAULT_SCALE_UP),
        scale_down=_rules(behavior.child("scaleDown"), DEFAULT_SCALE_DOWN),
    )


def _target(scaling: Fields) -> Target:
    if not scaling.has("target"):
        return DEFAULT_TARGET
    target = scaling.child("target")
    seconds = target.number("queueWaitSeconds", None, 0.1, 86_400)
    tasks = target.number("tasksPerSlot", None, 0.01, 100_000)
    if seconds is not None and tasks is None:
        return QueueWaitTarget(seconds)
    if tasks is not None and seconds is None:
        return TasksPerSlotTarget(tasks)
    raise InvalidPool(target.path, "needs exactly one of queueWaitSeconds and tasksPerSlot: remove the other")


def _fallback(scaling: Fields) -> Fallback | None:
    if not scaling.has("fallback"):
        return None
    minimum, maximum = _bounds(scaling)
    fallback = scaling.child("fallback")
    replicas = fallback.integer("replicas", None, 0, MAX_REPLICAS)
    if replicas is None:
        raise fallback.invalid("replicas", "is missing: set it, e.g. 2")
    if not minimum <= replicas <= maximum:
        raise fallback.invalid("replicas", f"must be between minReplicas ({minimum}) and maxReplicas ({maximum})")
    return Fallback(after_seconds=fallback.integer("afterSeconds", 60, 1, 86_400), replicas=replicas)


def _rules(rules: Fields, default: ScalingRules) -> ScalingRules:
    return ScalingRules(
        stabilization_window_seconds=rules.integer(
            "stabilizationWindowSeconds", default.stabilization_window_seconds, 0, MAX_STABILIZATION
        ),
        tolerance=_quantity(rules, "tolerance", default.tolerance),
        select_policy=rules.choice("selectPolicy", default.select_policy),
        policies=_rate_policies(rules) if rules.has("policies") else None,
    )


def _rate_policies(rules: Fields) -> tuple[RatePolicy, ...]:
    policies = rules.children("policies")
    if not policies:
        raise rules.invalid("policies", "must hold at least one policy: drop it for the operator's default")
    return tuple(_rate_policy(policy) for policy in policies)


def _rate_policy(policy: Fields) -> RatePolicy:
    value = policy.integer("value", None, 1, 1_000_000)
    period = policy.integer("periodSeconds", None, 1, MAX_PERIOD)
    if value is None or period is None or not policy.has("type"):
        raise InvalidPool(
            policy.path, "needs type, value and periodSeconds, e.g. {type: Pods, value: 4, periodSeconds: 60}"
        )
    return RatePolicy(type=policy.choice("type", PolicyType.PODS), value=value, period_seconds=period)


def _quantity(fields: Fields, name: str, default: float) -> float:
    """A Kubernetes quantity that is no amount of bytes: 0.1, "0.1", "100m", "1e-1"."""
    value = fields.values.get(name)
    if not isinstance(value, str):
        return fields.number(name, default, 0.0, MAX_TOLERANCE)
    match = _QUANTITY.fullmatch(value)
    if match is None:
        raise fields.invalid(name, 'must be a quantity of at least 0, e.g. 0.1 or "100m"')
    number = float(match[1]) / (1000 if match[2] else 1)
    return Fields(fields.path, {name: number}).number(name, default, 0.0, MAX_TOLERANCE)
