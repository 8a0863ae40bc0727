"""What the operator knows of the cluster now: filled by watch events, put right by periodic lists."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from celeriac.api.keys import PoolKey
from celeriac.api.names import API_VERSION, KIND
from celeriac.cluster.body import Body
from celeriac.cluster.paths import CELERY_WORKER_POOLS, DEPLOYMENTS, PODS, Resource
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.model import InvalidPool, WorkerPool
from celeriac.pool.parse import parse_pool
from celeriac.pool.platform import OPEN, Platform
from celeriac.pool.told_status import told_status
from celeriac.watching.cache import Cache
from celeriac.watching.edge import Edge, take_list, version_of
from celeriac.watching.members import Members
from celeriac.watching.revisions import Revisions, digest
from celeriac.watching.rivals import Rivals
from celeriac.watching.shard import WHOLE, Shard

K = TypeVar("K", "KnownPool", DeploymentRecord)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownPool:
    """One CeleryWorkerPool as last seen; `spec` is the error where it could not be parsed.

    status       what of its status can be believed; `status_whole`: that is all of it
    spec_digest  of the spec's text; empty where it has none
    """

    key: PoolKey
    uid: str
    generation: int
    deleting: bool
    spec: WorkerPool | InvalidPool
    status: Body
    status_whole: bool = True
    spec_digest: bytes = b""

    @property
    def asks(self) -> tuple[str, int, bool, WorkerPool | InvalidPool]:
        """All of it but the status, which is the operator's own."""
        return self.uid, self.generation, self.deleting, self.spec

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
    def from_body(cls, body: Body, before: "KnownPool | None" = None, *, platform: Platform = OPEN) -> "KnownPool":
        """Parse a body as the API server gives it, within what the platform allows.

        The spec is taken from `before` where its text is the same: most events bring a status alone, and to compare
        texts takes a tenth of the time of parsing.
        """
        metadata = body["metadata"]
        uid, generation, text = metadata["uid"], metadata.get("generation", 0), digest(body.get("spec"))
        same = before is not None and (before.uid, before.generation, before.spec_digest) == (uid, generation, text)
        status, status_whole = told_status(body.get("status"))
        return cls(
            key=PoolKey(metadata["namespace"], metadata["name"]),
            uid=uid,
            generation=generation,
            deleting="deletionTimestamp" in metadata,
            spec=before.spec if before is not None and same and text else _spec(body, platform),
            status=status,
            status_whole=status_whole,
            spec_digest=text,
        )


def _spec(body: Body, platform: Platform) -> WorkerPool | InvalidPool:
    """The spec of a pool, or what is wrong with it."""
    try:
        return platform.within(parse_pool(body), body)
    except InvalidPool as error:
        return error
    except Exception as error:
        metadata = body["metadata"]
        log.exception("pool %s/%s: its spec cannot be read", metadata["namespace"], metadata["name"])
        what = f"cannot be read, by a fault of the operator ({type(error).__name__}, see its log)"
        return InvalidPool("spec", f"{what}: undo the last change of it")


class Store:
    """Pools, their Deployments and their Pods. `changed` is called with the key of each pool that an event concerns."""

    def __init__(
        self,
        changed: Callable[[PoolKey], None],
        shard: Shard = WHOLE,
        left: Callable[[KnownPool], None] | None = None,
        platform: Platform = OPEN,
    ) -> None:
        """`left` is called with each pool that is gone, or another operator's now."""
        self._changed = changed
        self._shard = shard
        self._left = left
        self._revisions = Revisions()
        self.pools: Cache[PoolKey, KnownPool] = Cache(self._pool_changed)
        self.deployments: Cache[PoolKey, DeploymentRecord] = Cache(self._child_changed)
        self.rivals = Rivals()
        self._pods: Cache[str, PodRecord] = Cache(self._child_changed)
        self._pool_edge: Edge[KnownPool] = Edge("CeleryWorkerPool", partial(KnownPool.from_body, platform=platform))
        self._deployment_edge = Edge("Deployment", lambda body, _: DeploymentRecord.from_body(body))
        self._pod_edge: Edge[PodRecord] = Edge("Pod", lambda body, _: PodRecord.from_body(body))
        self.edges: Mapping[Resource, Edge[Any]] = {
            CELERY_WORKER_POOLS: self._pool_edge,
            DEPLOYMENTS: self._deployment_edge,
            PODS: self._pod_edge,
        }
        self._members = Members()

    def pods(self, key: PoolKey) -> list[PodRecord]:
        """The pods of one pool, oldest event first."""
        return self._members.of(key)

    def all_pods(self) -> list[PodRecord]:
        """The pods of all pools, of deleted ones too."""
        return self._pods.values()

    @property
    def pools_version(self) -> int:
        """Grows when the set of pools changes, or what one of them asks for; not with a status."""
        return self._revisions.pools

    @property
    def version(self) -> int:
        """Grows when anything known of any pool changes, as `revision` says it."""
        return self._revisions.latest

    def revision(self, key: PoolKey) -> int:
        """Grows when anything known of a pool changes: what it asks for, its Deployment, its Pods; not with its status.

        0 while nothing is known of it. A pool that comes back has none of the numbers that it had before.
        """
        return self._revisions.of(key)

    def _pool_changed(self, before: KnownPool | None, after: KnownPool | None) -> None:
        if before is not None and after is None and self._left is not None:
            self._left(before)
        if before is None or after is None or before.asks != after.asks:
            self._revisions.note_pools()
            self._child_changed(before, after)

    def _child_changed(self, *records: KnownPool | DeploymentRecord | PodRecord | None) -> None:
        self._revisions.note(*{record.key for record in records if record is not None})

    @property
    def unreadable(self) -> Mapping[str, int]:
        """By kind: objects that the operator cannot read, for a fault of its own."""
        return {edge.kind: edge.unreadable for edge in self.edges.values()}

    def pool_event(self, body: Body, *, deleted: bool) -> None:
        """Take over an event of a CeleryWorkerPool; one that is another operator's is as good as gone."""
        if deleted:
            self._shard.forget(body)
        self._take(self._pool_edge, self.pools, body, deleted=deleted or not self._shard.takes(body))

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
        key, version = PoolKey(body["metadata"]["namespace"], body["metadata"]["name"]), version_of(body)
        if deleted:
            edge.forget(body)
            if not cache.drop(key, version):
                return
        elif cache.made_from(key, version) is not None or cache.is_older(key, version):
            return
        else:
            record = edge.record(body, cache.get(key))
            if record is None:
                return
            cache.put(key, record, version)
        self._changed(key)

    def pod(self, uid: str) -> PodRecord | None:
        """One Pod, None where it is not there (any more)."""
        return self._pods.get(uid)

    def ended(self, key: PoolKey) -> Collection[str]:
        """The uids of a pool's Pods that are gone and were last seen with all their containers terminated."""
        return self._members.ended(key)

    def forget_ended(self, key: PoolKey) -> None:
        """Forget the Pods of a pool that is gone itself."""
        self._members.forget_ended(key)

    def pod_event(self, body: Body, *, deleted: bool) -> None:
        """Take over an event of a Pod; one without a pool's label is none of ours."""
        version = version_of(body)
        if not deleted and self._pods.made_from(body["metadata"]["uid"], version) is not None:
            return
        record = self._pod_edge.record(body)
        if deleted:
            self._pod_gone(self._pod_edge.forget(body), record)
        elif record is not None:
            self._pods.put(record.uid, record, version)
            self._tell(self._members.place(record), record.key)

    def _pod_gone(self, uid: str, last: PodRecord | None) -> None:
        """Forget a Pod. How it ended is told by its last body, if that could be read."""
        if last is not None and last.all_terminated:
            self._members.remember_end(last)
        self._pods.drop(uid)
        self._tell(self._members.displace(uid), last.key if last is not None else None)

    def _tell(self, *keys: PoolKey | None) -> None:
        for key in dict.fromkeys(keys):
            if key is not None:
                self._changed(key)

    def note_pod(self, body: Body) -> None:
        """Take over the marks that a write of our own left on a Pod, before the watch tells of them.

        Nothing else of it, and no Pod that is gone: a watch event may have been faster than the answer. One that tells
        of a later state has the later marks.
        """
        if self._pods.is_older(body["metadata"]["uid"], version_of(body)):
            return
        written = self._pod_edge.record(body)
        current = self._pods.get(written.uid) if written is not None else None
        if written is not None and current is not None:
            marked = replace(current, drain_token=written.drain_token, deletion_cost=written.deletion_cost)
            self._pods.put(written.uid, marked)
            self._members.place(marked)

    def note_replicas(self, key: PoolKey, replicas: int, version: str) -> None:
        """Remember a count that was just read from or written to /scale, before the watch tells of it.

        `version` is that of the Deployment which has it: the watch may have told of a later one.
        """
        if self.deployments.is_older(key, version):
            return
        record = self.deployments.get(key)
        if record is not None and record.spec_replicas != replicas:
            self.deployments.put(key, replace(record, spec_replicas=replicas, resource_version=""))

    def replace_pools(self, bodies: Iterable[Body], since: int) -> None:
        """Take over a full list of CeleryWorkerPools."""
        self._take_list(self._pool_edge, self.pools, (body for body in bodies if self._shard.takes(body)), since)

    def replace_deployments(self, bodies: Iterable[Body], since: int) -> None:
        """Take over a full list of Deployments."""
        self._take_list(self._deployment_edge, self.deployments, bodies, since)
        self._note_writers(*(record.key for record in self.deployments.values()))

    def _take_list(self, edge: Edge[K], cache: Cache[PoolKey, K], bodies: Iterable[Body], since: int) -> None:
        keyed = ((PoolKey(body["metadata"]["namespace"], body["metadata"]["name"]), body) for body in bodies)
        for key in take_list(edge, cache, keyed, since):
            self._changed(key)

    def replace_pods(self, bodies: Iterable[Body], since: int) -> None:
        """Take over a full list of Pods."""
        changed: set[PoolKey | None] = set()
        of_uid = ((body["metadata"]["uid"], body) for body in bodies)
        for uid in take_list(self._pod_edge, self._pods, of_uid, since):
            record = self._pods.get(uid)
            changed |= {self._members.displace(uid)} if record is None else {self._members.place(record), record.key}
        self._revisions.keep({*self.pools.identities(), *self.deployments.identities(), *self._members.pools()})
        self._tell(*changed)

    def moments(self) -> tuple[int, int, int]:
        """The moment of each cache (pools, deployments, pods), to be taken before a list is requested."""
        return self.pools.now(), self.deployments.now(), self._pods.now()
