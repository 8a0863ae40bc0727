"""spec.strategy: how a rollout replaces old workers by new ones."""

import re
from enum import StrEnum
from typing import Final

from celeriac.pool.fields import Fields, kind
from celeriac.scaling.policy import Strategy

MAX_PODS: Final = 10_000
MAX_SURGE_PERCENT: Final = 9999
MAX_UNAVAILABLE_PERCENT: Final = 100
NOTHING: Final = (0, "0%")


class StrategyType(StrEnum):
    """Whether old and new workers run beside each other (DeploymentStrategyType of apps/v1)."""

    ROLLING_UPDATE = "RollingUpdate"
    RECREATE = "Recreate"


def parse_strategy(strategy: Fields) -> Strategy:
    """The strategy of a pool; an absent one has the defaults of Strategy. Raises InvalidPool."""
    recreate = strategy.choice("type", StrategyType.ROLLING_UPDATE) is StrategyType.RECREATE
    if recreate and strategy.has("rollingUpdate"):
        raise strategy.invalid(
            "rollingUpdate",
            "goes with type: RollingUpdate only: drop it (in a merge patch, set it to null), or drop the type",
        )
    rolling, default = strategy.child("rollingUpdate"), Strategy()
    surge = _pods(rolling, "maxSurge", default.max_surge, MAX_SURGE_PERCENT)
    unavailable = _pods(rolling, "maxUnavailable", default.max_unavailable, MAX_UNAVAILABLE_PERCENT)
    if surge in NOTHING and unavailable in NOTHING:
        raise strategy.invalid("rollingUpdate", "lets nothing change: with maxSurge 0 set maxUnavailable to 1 or more")
    return Strategy(recreate, surge, unavailable)


def _pods(fields: Fields, name: str, default: int | str, maximum: int) -> int | str:
    """A number of pods, or a percentage of the replicas."""
    value = fields.values[name] if fields.has(name) else default
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int):
            raise fields.invalid(name, f'must be a number of pods or a percentage such as "25%", not {kind(value)}')
        return fields.integer(name, default, 0, MAX_PODS)
    match = re.fullmatch(r"(0|[1-9][0-9]{0,3})%", value, re.ASCII)
    if match is None or int(match[1]) > maximum:
        raise fields.invalid(name, f'must be a number of pods or a percentage from "0%" to "{maximum}%"')
    return value
