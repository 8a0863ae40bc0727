"""What the operator knows of the cluster now: filled by watch events, put right by periodic lists."""

import itertools
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from celeriac.api.keys import PoolKey
from celeriac.api.names import API_VERSION, KIND
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.model import InvalidPool, WorkerPool
from celeriac.pool.parse import parse_pool

I = TypeVar("I", bound=Hashable)  # noqa: E741 - an identity
R = TypeVar("R")
Body = Mapping[str, Any]

ENDED_PODS = 1000
"""Pods of one pool whose end is remembered after they are gone; the reaper asks for it within a second or so."""


@dataclass(frozen=True, slots=True)
class KnownPool:
    """One CeleryWorkerPool as last seen; `spec` is the error where it could not be parsed."""

    key: PoolKey
    uid: str
    generation: int
    deleting: bool
    spec: WorkerPool | InvalidPool
    status: Body

    @property
    def reference(self) -> dict[str, str]:
        """The object reference that an event names."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "uid": self.uid,
        }

    @classmethod
    def from_body(cls, body: Body) -> "KnownPool":
        """Parse a body as the API server gives it."""
        metadata = body["metadata"]
        spec: WorkerPool | InvalidPool
        try:
            spec = parse_pool(body)
        except InvalidPool as error:
            spec = error
        return cls(
            key=PoolKey(metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            deleting="deletionTimestamp" in metadata,
            spec=spec,
            status=body.get("status") or {},
        )


class Cache(Generic[I, R]):
    """Records of one kind by identity, each with the moment of its last event, so that a list cannot undo it."""

    def __init__(self) -> None:
        self._records: dict[I, R] = {}
        self._touched: dict[I, int] = {}
        self._clock = itertools.count(1)

    def now(self) -> int:
        """A moment in this cache's own order of events."""
        return next(self._clock)

    def get(self, identity: I) -> R | None:
        """The record, or None."""
        return self._records.get(identity)

    def values(self) -> list[R]:
        """All records."""
        return list(self._records.values())

    def put(self, identity: I, record: R) -> None:
        """Take over a record."""
        self._records[identity] = record
        self._touched[identity] = self.now()

    def drop(self, identity: I) -> None:
        """Forget a record; a list that began earlier does not bring it back."""
        self._records.pop(identity, None)
        self._touched[identity] = self.now()

    def replace(self, listed: Mapping[I, R], since: int) -> set[I]:
        """Take over a list that was requested at `since`; returns the identities that it changed.

        What an event has touched meanwhile is newer than the list and stays as it is.
        """
        changed = set()
        for identity in self._records.keys() | listed.keys():
            if self._touched.get(identity, 0) > since or self._records.get(identity) == listed.get(identity):
                continue
            changed.add(identity)
            if identity in listed:
                self._records[identity] = listed[identity]
            else:
                del self._records[identity]
        self._touched = {i: at for i, at in self._touched.items() if i in self._records or at > since}
        return changed


class Store:
    """Pools, their Deployments and their Pods. `changed` is called with the key of each pool that an event concerns."""

    def __init__(self, changed: Callable[[PoolKey], None]) -> None:
        self._changed = changed
        self.pools: Cache[PoolKey, KnownPool] = Cache()
        self.deployments: Cache[PoolKey, DeploymentRecord] = Cache()
        self._pods: Cache[str, PodRecord] = Cache()
        self._pods_of: dict[PoolKey, dict[str, PodRecord]] = {}
        self._ended_of: dict[PoolKey, dict[str, None]] = {}

    def pods(self, key: PoolKey) -> list[PodRecord]:
        """The pods of one pool, oldest event first."""
        return list(self._pods_of.get(key, {}).values())

    def all_pods(self) -> list[PodRecord]:
        """The pods of all pools, of deleted ones too."""
        return self._pods.values()

    def pool_event(self, body: Body, *, deleted: bool) -> None:
        """Take over an event of a CeleryWorkerPool."""
        known = KnownPool.from_body(body)
        if deleted:
            self.pools.drop(known.key)
        else:
            self.pools.put(known.key, known)
        self._changed(known.key)

    def deployment_event(self, body: Body, *, deleted: bool) -> None:
        """Take over an event of a Deployment."""
        record = DeploymentRecord.from_body(body)
        if deleted:
            self.deployments.drop(record.key)
        else:
            self.deployments.put(record.key, record)
        self._changed(record.key)

    def pod(self, uid: str) -> PodRecord | None:
        """One Pod, None where it is not there (any more)."""
        return self._pods.get(uid)

    def ended(self, key: PoolKey) -> Collection[str]:
        """The uids of a pool's Pods that are gone and were last seen with all their containers terminated."""
        return self._ended_of.get(key, {}).keys()

    def forget_ended(self, key: PoolKey) -> None:
        """Forget the Pods of a pool that is gone itself."""
        self._ended_of.pop(key, None)

    def pod_event(self, body: Body, *, deleted: bool) -> None:
        """Take over an event of a Pod; one without a pool's label is none of ours."""
        record = PodRecord.from_body(body)
        if deleted:
            self._pods.drop(record.uid)
            self._pods_of.get(record.key, {}).pop(record.uid, None)
            if record.all_terminated:
                self._remember_end(record)
        else:
            self._pods.put(record.uid, record)
            self._pods_of.setdefault(record.key, {})[record.uid] = record
        self._changed(record.key)

    def note_pod(self, body: Body) -> None:
        """Take over the marks that a write of our own left on a Pod, before the watch tells of them.

        Nothing else of it, and no Pod that is gone: a watch event may have been faster than the answer.
        """
        written = PodRecord.from_body(body)
        current = self._pods.get(written.uid)
        if current is not None:
            marked = replace(current, drain_token=written.drain_token, deletion_cost=written.deletion_cost)
            self._pods.put(written.uid, marked)
            self._pods_of.setdefault(marked.key, {})[marked.uid] = marked

    def note_replicas(self, key: PoolKey, replicas: int) -> None:
        """Remember a count that was just read from or written to /scale, before the watch tells of it."""
        record = self.deployments.get(key)
        if record is not None:
            self.deployments.put(key, replace(record, spec_replicas=replicas))

    def replace_pools(self, bodies: Sequence[Body], since: int) -> None:
        """Take over a full list of CeleryWorkerPools."""
        listed = {known.key: known for known in map(KnownPool.from_body, bodies)}
        for key in self.pools.replace(listed, since):
            self._changed(key)

    def replace_deployments(self, bodies: Sequence[Body], since: int) -> None:
        """Take over a full list of Deployments."""
        listed = {record.key: record for record in map(DeploymentRecord.from_body, bodies)}
        for key in self.deployments.replace(listed, since):
            self._changed(key)

    def replace_pods(self, bodies: Sequence[Body], since: int) -> None:
        """Take over a full list of Pods."""
        listed = {record.uid: record for record in map(PodRecord.from_body, bodies)}
        before = {record.uid: record.key for record in self._pods.values()}
        changed = {listed[uid].key if uid in listed else before[uid] for uid in self._pods.replace(listed, since)}
        self._pods_of = {}
        for record in self._pods.values():
            self._pods_of.setdefault(record.key, {})[record.uid] = record
        for key in changed:
            self._changed(key)

    def _remember_end(self, pod: PodRecord) -> None:
        ended = self._ended_of.setdefault(pod.key, {})
        ended[pod.uid] = None
        if len(ended) > ENDED_PODS:
            del ended[next(iter(ended))]

    def moments(self) -> tuple[int, int, int]:
        """The moment of each cache (pools, deployments, pods), to be taken before a list is requested."""
        return self.pools.now(), self.deployments.now(), self._pods.now()
