"""Who else writes a Deployment's replicas: an autoscaler that does fights the operator, and both lose."""

import time
from collections.abc import Callable
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.cluster.records import DeploymentRecord

AUTOSCALER: Final = "kube-controller-manager"
"""The field manager of HorizontalPodAutoscalers; nothing else of it writes spec.replicas."""
RIVAL_SECONDS: Final = 600.0
WRITES: Final = 2
"""One is a person's kubectl scale, which the next tick puts right."""


class Rivals:
    """Remembers by pool who else was seen to write, and when. Times are monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[PoolKey, tuple[str, float] | None] = {}
        self._seen: dict[PoolKey, dict[str, list[float]]] = {}

    def note(self, record: DeploymentRecord) -> None:
        """Take over a Deployment as the API server tells of it; its last writer has a time of whole seconds."""
        if self._last.get(record.key) == record.scaled_by:
            return
        self._last[record.key] = record.scaled_by
        if record.scaled_by is not None:
            manager, _ = record.scaled_by
            times = self._seen.setdefault(record.key, {}).setdefault(manager, [])
            times[:] = [*times, self._clock()][-WRITES:]

    def forget(self, key: PoolKey) -> None:
        """The Deployment is gone."""
        self._last.pop(key, None)
        self._seen.pop(key, None)

    def of(self, key: PoolKey) -> str | None:
        """The field manager that writes the replicas again and again, or that is an autoscaler; None for nobody."""
        since = self._clock() - RIVAL_SECONDS
        last = self._last.get(key)
        if last is not None and last[0] == AUTOSCALER:
            return AUTOSCALER
        for manager, times in self._seen.get(key, {}).items():
            writes = 1 if manager == AUTOSCALER else WRITES
            if len([at for at in times if at > since]) >= writes:
                return manager
        return None
