"""Sees every change of a namespace's Pods, Deployments and pools, so that no peak and no Pod is missed."""

# mypy: disable-error-code="no-untyped-call"

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import kubernetes.client
import kubernetes.config
import kubernetes.watch
from urllib3.exceptions import HTTPError

from tests.integration.kube import POOLS

WATCH_SECONDS = 300
RETRY_SECONDS = 0.2
POOL_LABEL = "celeriac.dev/pool"

Body = dict[str, Any]


@dataclass(frozen=True)
class PodSeen:
    """One Pod over its life; `created` is Unix time in whole seconds.

    lost_ready  it was ready, and then not, before anybody deleted it
    """

    name: str
    pool: str
    image: str
    created: float
    ready: bool = False
    was_ready: bool = False
    lost_ready: bool = False
    restarts: int = 0
    deleted: bool = False

    def after(self, pod: Body) -> "PodSeen":
        """The same with one more state."""
        status = pod.get("status") or {}
        conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
        ready = conditions.get("Ready") == "True"
        deleted = "deletionTimestamp" in pod["metadata"]
        restarts = sum(each["restartCount"] for each in status.get("containerStatuses") or ())
        return replace(
            self,
            ready=ready,
            was_ready=self.was_ready or ready,
            lost_ready=self.lost_ready or (self.was_ready and not ready and not deleted),
            restarts=max(self.restarts, restarts),
            deleted=self.deleted or deleted,
        )


@dataclass(frozen=True)
class Decided:
    """A decision as the status told it."""

    replicas: int
    reason: str
    message: str


@dataclass
class PoolSeen:
    """One pool over its life: what was decided, what was wanted of the Deployment, how many were ready."""

    decisions: list[Decided] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    rolling: list[bool] = field(default_factory=list)

    @property
    def peak(self) -> Decided:
        """The first decision that asked for the most replicas."""
        return max(self.decisions, key=lambda decided: decided.replicas)

    @property
    def scaled_down_in_rollout(self) -> list[tuple[int, int]]:
        """Each change to fewer replicas, from and to, that was made while Pods of two templates were there."""
        steps = zip(self.wanted, self.wanted[1:], self.rolling, strict=False)
        return [(before, after) for before, after, rolling in steps if rolling and after < before]


class Witness:
    """Use it as a context manager, from before the first pool on."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._api = kubernetes.config.new_client_from_config(str(kubeconfig))
        self._namespace = namespace
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._pods: dict[str, PodSeen] = {}
        self._pools: dict[str, PoolSeen] = {}

    def __enter__(self) -> Self:
        custom = kubernetes.client.CustomObjectsApi(self._api)
        sources: list[tuple[Callable[..., Any], dict[str, str], Callable[[Body], None]]] = [
            (kubernetes.client.CoreV1Api(self._api).list_namespaced_pod, {}, self._see_pod),
            (kubernetes.client.AppsV1Api(self._api).list_namespaced_deployment, {}, self._see_deployment),
            (custom.list_namespaced_custom_object, POOLS, self._see_pool),
        ]
        for source in sources:
            threading.Thread(target=self._follow, args=source, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()

    def pods(self, pool: str) -> list[PodSeen]:
        """All Pods that the pool ever had."""
        with self._lock:
            return [pod for pod in self._pods.values() if pod.pool == pool]

    def pool(self, name: str) -> PoolSeen:
        """What was seen of the pool so far."""
        with self._lock:
            seen = self._pools.get(name, PoolSeen())
            return PoolSeen(list(seen.decisions), list(seen.wanted), list(seen.ready), list(seen.rolling))

    def _follow(self, listing: Callable[..., Any], kind: dict[str, str], see: Callable[[Body], None]) -> None:
        """A watch ends with its time or a lost connection; the next one begins with all that there is."""
        options = {"namespace": self._namespace, "timeout_seconds": WATCH_SECONDS, **kind}
        while not self._ending.is_set():
            with contextlib.suppress(kubernetes.client.ApiException, OSError, HTTPError):
                for event in kubernetes.watch.Watch().stream(listing, **options):
                    with self._lock:
                        see(event["raw_object"])
                    if self._ending.is_set():
                        return
            self._ending.wait(RETRY_SECONDS)

    def _see_pod(self, pod: Body) -> None:
        metadata = pod["metadata"]
        pool = (metadata.get("labels") or {}).get(POOL_LABEL, "")
        image = pod["spec"]["containers"][0]["image"]
        created = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
        before = self._pods.get(metadata["uid"]) or PodSeen(metadata["name"], pool, image, created)
        self._pods[metadata["uid"]] = before.after(pod)

    def _see_deployment(self, deployment: Body) -> None:
        seen = self._pools.setdefault(deployment["metadata"]["name"], PoolSeen())
        seen.wanted.append(deployment["spec"]["replicas"])
        status = deployment.get("status") or {}
        seen.ready.append(status.get("readyReplicas") or 0)
        seen.rolling.append((status.get("updatedReplicas") or 0) != (status.get("replicas") or 0))

    def _see_pool(self, pool: Body) -> None:
        status = pool.get("status") or {}
        if "decision" in status:
            decision = status["decision"]
            decided = Decided(status["desiredReplicas"], decision["reason"], decision["message"])
            self._pools.setdefault(pool["metadata"]["name"], PoolSeen()).decisions.append(decided)
