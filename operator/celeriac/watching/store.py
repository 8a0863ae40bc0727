"""What the operator knows of the cluster now: filled by watch events, put right by periodic lists."""

import itertools
import logging
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from celeriac.api.keys import PoolKey
from celeriac.api.names import API_VERSION, KIND
from celeriac.cluster.body import Body
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.model import InvalidPool, WorkerPool
from celeriac.pool.parse import parse_pool
from celeriac.pool.told_status import told_status
from celeriac.watching.edge import Edge
from celeriac.watching.rivals import Rivals

I = TypeVar("I", bound=Hashable)  # noqa: E741 - an identity
R = TypeVar("R")
K = TypeVar("K", "KnownPool", DeploymentRecord)
log = logging.getLogger(__name__)

ENDED_PODS = 1000
"""Pods of one pool whose end is remembered after they are gone; the reaper asks for it within a second or so."""


@dataclass(frozen=True, slots=True)
class KnownPool:
    """One CeleryWorkerPool as last seen; `spec` is the error where it could not be parsed.

    status  what of its status can be believed; `status_whole`: that is all of it
    """

    key: PoolKey
    uid: str
    generation: int
    deleting: bool
    spec: WorkerPool | InvalidPool
    status: Body
    status_whole: bool = True

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
        except Exception as error:
            log.exception("pool %s/%s: its spec cannot be read", metadata["namespace"], metadata["name"])
            what = f"cannot be read, by a fault of the operator ({type(error).__name__}, see its log)"
            spec = InvalidPool("spec", f"{what}: undo the last change of it")
        status, status_whole = told_status(body.get("status"))
        return cls(
            key=PoolKey(metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            deleting="deletionTimestamp" in metadata,
            spec=spec,
            status=status,
            status_whole=status_whole,
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
        self.rivals = Rivals()
        self._pods: Cache[str, PodRecord] = Cache()
        self._pool_edge = Edge("CeleryWorkerPool", KnownPool.from_body)
        self._deployment_edge = Edge("Deployment", DeploymentRecord.from_body)
        self._pod_edge = Edge("Pod", PodRecord.from_body)
        self._pods_of: dict[PoolKey, dict[str, PodRecord]] = {}
        self._pool_of: dict[str, PoolKey] = {}
        self._ended_of: dict[PoolKey, dict[str, None]] = {}

    def pods(self, key: PoolKey) -> list[PodRecord]:
        """The pods of one pool, oldest event first."""
        return list(self._pods_of.get(key, {}).values())

    def all_pods(self) -> list[PodRecord]:
        """The pods of all pools, of deleted ones too."""
        return self._pods.values()

    @property
    def unreadable(self) -> Mapping[str, int]:
        """By kind: objects that the operator cannot read, for a fault of its own."""
        return {
            "CeleryWorkerPool": self._pool_edge.unreadable,
            "Deployment": self._deployment_edge.unreadable,
            "Pod": self._pod_edge.unreadable,
        }

    def pool_event(self, body: Body, *, deleted: bool) -> None:
        """Take over an event of a CeleryWorkerPool."""
        self._take(self._pool_edge, self.pools, body, deleted=deleted)

    def deployment_event(self, body: Body, *, deleted: bool) -> None:
        """Take over an event of a Deployment."""
        self._take(self._deployment_edge, self.deployments, body, deleted=deleted)
        self._note_writers(PoolKey(body["metadata"]["namespace"], body["metadata"]["name"]))

    def _note_writers(self, *keys: PoolKey) -> None:
        for key in keys:
            record = self.deployments.get(key)
            self.rivals.forget(key) if record is None else self.rivals.note(record)

    def _take(self, edge: Edge[K], cache: Cache[PoolKey, K], body: Body, *, deleted: bool) -> None:
        """Take over an event of something that has a pool's namespace and name."""
        if deleted:
            edge.forget(body)
            key = PoolKey(body["metadata"]["namespace"], body["metadata"]["name"])
            cache.drop(key)
        else:
            record = edge.record(body)
            if record is None:
                return
            key = record.key
            cache.put(key, record)
        self._changed(key)

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
        record = self._pod_edge.record(body)
        if deleted:
            self._pod_gone(self._pod_edge.forget(body), record)
        elif record is not None:
            self._pods.put(record.uid, record)
            self._tell(self._place(record), record.key)

    def _pod_gone(self, uid: str, last: PodRecord | None) -> None:
        """Forget a Pod. How it ended is told by its last body, if that could be read."""
        if last is not None and last.all_terminated:
            self._remember_end(last)
        self._pods.drop(uid)
        self._tell(self._displace(uid), last.key if last is not None else None)

    def _place(self, record: PodRecord) -> PoolKey | None:
        """Count a Pod in its pool, and in no other: a label can be changed. Returns the pool that it was in."""
        left = self._pool_of.get(record.uid)
        if left is not None and left != record.key:
            self._displace(record.uid)
        self._pool_of[record.uid] = record.key
        self._pods_of.setdefault(record.key, {})[record.uid] = record
        return left

    def _displace(self, uid: str) -> PoolKey | None:
        """Count a Pod in no pool; returns the one that it was counted in."""
        key = self._pool_of.pop(uid, None)
        if key is not None:
            del self._pods_of[key][uid]
            if not self._pods_of[key]:
                del self._pods_of[key]
        return key

    def _tell(self, *keys: PoolKey | None) -> None:
        for key in dict.fromkeys(keys):
            if key is not None:
                self._changed(key)

    def note_pod(self, body: Body) -> None:
        """Take over the marks that a write of our own left on a Pod, before the watch tells of them.

        Nothing else of it, and no Pod that is gone: a watch event may have been faster than the answer.
        """
        written = self._pod_edge.record(body)
        current = self._pods.get(written.uid) if written is not None else None
        if written is not None and current is not None:
            marked = replace(current, drain_token=written.drain_token, deletion_cost=written.deletion_cost)
            self._pods.put(written.uid, marked)
            self._place(marked)

    def note_replicas(self, key: PoolKey, replicas: int) -> None:
        """Remember a count that was just read from or written to /scale, before the watch tells of it."""
        record = self.deployments.get(key)
        if record is not None:
            self.deployments.put(key, replace(record, spec_replicas=replicas))

    def replace_pools(self, bodies: Sequence[Body], since: int) -> None:
        """Take over a full list of CeleryWorkerPools."""
        self._replace(self._pool_edge, self.pools, bodies, since)

    def replace_deployments(self, bodies: Sequence[Body], since: int) -> None:
        """Take over a full list of Deployments."""
        self._replace(self._deployment_edge, self.deployments, bodies, since)
        self._note_writers(*(record.key for record in self.deployments.values()))

    def _replace(self, edge: Edge[K], cache: Cache[PoolKey, K], bodies: Sequence[Body], since: int) -> None:
        edge.keep(bodies)
        listed: dict[PoolKey, K] = {}
        for body in bodies:
            key = PoolKey(body["metadata"]["namespace"], body["metadata"]["name"])
            record = edge.record(body) or cache.get(key)
            if record is not None:
                listed[key] = record
        for key in cache.replace(listed, since):
            self._changed(key)

    def replace_pods(self, bodies: Sequence[Body], since: int) -> None:
        """Take over a full list of Pods."""
        self._pod_edge.keep(bodies)
        records = [self._pod_edge.record(body) or self._pods.get(body["metadata"]["uid"]) for body in bodies]
        listed = {record.uid: record for record in records if record is not None}
        changed: set[PoolKey | None] = set()
        for uid in self._pods.replace(listed, since):
            record = self._pods.get(uid)
            changed |= {self._displace(uid)} if record is None else {self._place(record), record.key}
        self._tell(*changed)

    def _remember_end(self, pod: PodRecord) -> None:
        ended = self._ended_of.setdefault(pod.key, {})
        ended[pod.uid] = None
        if len(ended) > ENDED_PODS:
            del ended[next(iter(ended))]

    def moments(self) -> tuple[int, int, int]:
        """The moment of each cache (pools, deployments, pods), to be taken before a list is requested."""
        return self.pools.now(), self.deployments.now(), self._pods.now()
