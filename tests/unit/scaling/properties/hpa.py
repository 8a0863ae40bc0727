"""The HorizontalPodAutoscaler of Kubernetes by its documentation, kept apart from the operator's code on purpose.

After "Configurable scaling behavior" of the Kubernetes documentation, KEP-853, and what pkg/controller/podautoscaler
does: everything is remembered as it came, and looked through anew each time. Times are whole seconds.
"""

import math
from dataclasses import dataclass, field

from celeriac.scaling.policy import Behavior, PolicyType, RatePolicy, ScalingRules, SelectPolicy


@dataclass
class Hpa:
    """One autoscaler of one workload; `replicas` is what it set last."""

    behavior: Behavior
    least: int
    most: int
    replicas: int
    recommended: list[tuple[int, int]] = field(default_factory=list)
    changed: list[tuple[int, int]] = field(default_factory=list)

    def turn(self, recommendation: int, now: int) -> int:
        """One run of its control loop: stabilize, limit the rate, keep the bounds; returns the replicas."""
        self.recommended.append((now, recommendation))
        desired = self._within_rates(self._stabilized(now), now)
        desired = min(max(desired, self.least), self.most)
        if desired != self.replicas:
            self.changed.append((now, desired - self.replicas))
        self.replicas = desired
        return desired

    def _stabilized(self, now: int) -> int:
        """The closest to the current count that lies between the lowest and the highest of the windows."""
        lowest = min(self._window(self.behavior.scale_up, now))
        highest = max(self._window(self.behavior.scale_down, now))
        return min(max(self.replicas, lowest), highest)

    def _window(self, rules: ScalingRules, now: int) -> list[int]:
        since = now - rules.stabilization_window_seconds
        return [self.recommended[-1][1], *(count for at, count in self.recommended if at > since)]

    def _within_rates(self, desired: int, now: int) -> int:
        if desired > self.replicas:
            return min(desired, max(self.replicas, self._limit(self.behavior.scale_up, now, +1)))
        if desired < self.replicas:
            return max(desired, min(self.replicas, self._limit(self.behavior.scale_down, now, -1)))
        return desired

    def _limit(self, rules: ScalingRules, now: int, sign: int) -> int:
        if rules.select_policy is SelectPolicy.DISABLED:
            return self.replicas
        limits = [self._allowed(policy, now, sign) for policy in rules.policies or ()]
        largest_change = rules.select_policy is SelectPolicy.MAX
        return max(limits) if largest_change == (sign > 0) else min(limits)

    def _allowed(self, policy: RatePolicy, now: int, sign: int) -> int:
        """What one policy makes of the count at the start of its period; a share is rounded for the change."""
        start = self.replicas - sum(change for at, change in self.changed if at > now - policy.period_seconds)
        if policy.type is PolicyType.PODS:
            return start + sign * policy.value
        return start + sign * math.ceil(start * policy.value / 100)
