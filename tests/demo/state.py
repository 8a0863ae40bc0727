"""What the demo has seen of its pools: the newest figures, and the peaks by which the end is judged."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class PoolState:
    """One pool. `decided` and `ready` are replicas now, the peaks are the most so far; None: nothing seen yet.

    `decision` is the operator's last sentence; `peak_decision` the one that asked for the most replicas.
    """

    name: str
    decided: int | None = None
    decision: str = ""
    peak_decided: int = 0
    peak_decision: str = ""
    replicas: int | None = None
    ready: int = 0
    peak_ready: int = 0

    def with_status(self, pool: dict[str, Any]) -> "PoolState":
        """After a CeleryWorkerPool has changed."""
        status = pool.get("status") or {}
        decided, sentence = status.get("desiredReplicas"), (status.get("decision") or {}).get("message", "")
        state = replace(self, decided=decided, decision=sentence)
        if decided is not None and decided > self.peak_decided:
            state = replace(state, peak_decided=decided, peak_decision=sentence)
        return state

    def with_deployment(self, deployment: dict[str, Any]) -> "PoolState":
        """After its Deployment has changed: `replicas` are those that exist, ready ones are counted by the kubelet."""
        status = deployment.get("status") or {}
        ready = status.get("readyReplicas") or 0
        wanted = deployment["spec"].get("replicas", 0)
        return replace(
            self,
            replicas=max(wanted, status.get("replicas") or 0),
            ready=ready,
            peak_ready=max(self.peak_ready, ready),
        )

    @property
    def at_zero(self) -> bool:
        """Whether nothing is wanted and nothing runs."""
        return self.decided == 0 and self.replicas == 0
