"""From a body of the API server to a record, one object at a time: one that cannot be read touches no other."""

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from typing import Generic, TypeVar

from celeriac.cluster.body import Body
from celeriac.watching.cache import Cache

I = TypeVar("I", bound=Hashable)  # noqa: E741 - an identity
R = TypeVar("R")
log = logging.getLogger(__name__)


class Edge(Generic[R]):
    """Reduces the bodies of one kind.

    `reduce` gets what was known of the object before, too. It may raise anything: that is a fault of the operator's.
    """

    def __init__(self, kind: str, reduce: Callable[[Body, R | None], R]) -> None:
        self.kind = kind
        self._reduce = reduce
        self._unreadable: dict[str, str] = {}
        self.newest = 0
        """The newest resourceVersion of all bodies, those of objects that are gone too: no list may be older."""

    @property
    def unreadable(self) -> int:
        """How many objects of the kind cannot be read now."""
        return len(self._unreadable)

    def record(self, body: Body, before: R | None = None) -> R | None:
        """The record, or None where it cannot be made: what was known of the object before is the best there is."""
        uid, version = _uid(body), version_of(body)
        self.saw(version)
        try:
            record = self._reduce(body, before)
        except Exception:
            if self._unreadable.get(uid) != version:
                log.exception(
                    "%s %s/%s cannot be read, by a fault of the operator: what was known of it before stands",
                    *(self.kind, _text(body, "namespace"), _text(body, "name")),
                )
            self._unreadable[uid] = version
            return None
        self._unreadable.pop(uid, None)
        return record

    def forget(self, body: Body) -> str:
        """Forget an object that is gone; its uid."""
        uid = _uid(body)
        self.saw(version_of(body))
        self._unreadable.pop(uid, None)
        return uid

    def saw(self, version: str) -> None:
        """Take over a resourceVersion that the API server has told: of an object, or of a list."""
        if version.isdecimal():
            self.newest = max(self.newest, int(version))

    def keep(self, listed: Set[str]) -> None:
        """Forget all objects but those of these uids: a full list has come."""
        self._unreadable = {uid: version for uid, version in self._unreadable.items() if uid in listed}


def version_of(body: Body) -> str:
    """The resourceVersion of an object; empty where it has none."""
    return _text(body, "resourceVersion")


def _uid(body: Body) -> str:
    return _text(body, "uid")


def _text(body: Body, name: str) -> str:
    metadata = body.get("metadata")
    value = metadata.get(name) if isinstance(metadata, Mapping) else None
    return value if isinstance(value, str) else ""


def take_list(edge: Edge[R], cache: Cache[I, R], bodies: Iterable[tuple[I, Body]], since: int) -> set[I]:
    """Take over a full list of one kind; returns the identities that it changed. Bodies that are known are not read."""
    listed: dict[I, R] = {}
    versions: dict[I, str] = {}
    uids = set()
    for identity, body in bodies:
        uids.add(_uid(body))
        version = version_of(body)
        record = cache.made_from(identity, version) or edge.record(body, cache.get(identity))
        if record is not None:
            listed[identity], versions[identity] = record, version
        elif (known := cache.get(identity)) is not None:
            listed[identity] = known
    edge.keep(uids)
    return cache.replace(listed, since, versions)
