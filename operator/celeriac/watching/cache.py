"""Records of one kind, filled by watch events and put right by lists."""

import itertools
from collections.abc import Callable, Hashable, KeysView, Mapping
from typing import Any, Final, Generic, TypeVar

I = TypeVar("I", bound=Hashable)  # noqa: E741 - an identity
R = TypeVar("R")

NO_VERSIONS: Final[Mapping[Any, str]] = {}


def _nobody(before: Any, after: Any) -> None:
    """Nobody asks what has changed."""


class Cache(Generic[I, R]):
    """Records of one kind by identity, each with the moment of its last event, so that a list cannot undo it.

    With each goes the resourceVersion of the last body of it, by which an older one is known: the answer to a write may
    be slower than the watch, which has told of what came after.
    """

    def __init__(self, changed: Callable[[R | None, R | None], None] = _nobody) -> None:
        """`changed` is called with a record before and after whatever changed it; None: there is none."""
        self._changed = changed
        self._records: dict[I, R] = {}
        self._versions: dict[I, str] = {}
        self._amended: set[I] = set()
        """Of which no body says all that is known."""
        self._touched: dict[I, int] = {}
        self._clock = itertools.count(1)

    def now(self) -> int:
        """A moment in this cache's own order of events."""
        return next(self._clock)

    def get(self, identity: I) -> R | None:
        """The record, or None."""
        return self._records.get(identity)

    def made_from(self, identity: I, version: str) -> R | None:
        """The record, if it was made from the body of this resourceVersion: that body brings nothing new."""
        is_known = version and self._versions.get(identity) == version and identity not in self._amended
        return self._records.get(identity) if is_known else None

    def is_older(self, identity: I, version: str) -> bool:
        """Whether a body of this resourceVersion is older than the last one, be that of a deletion."""
        last = self._versions.get(identity, "")
        return version.isdecimal() and last.isdecimal() and int(version) < int(last)

    def values(self) -> list[R]:
        """All records."""
        return list(self._records.values())

    def identities(self) -> KeysView[I]:
        """Of all records."""
        return self._records.keys()

    def put(self, identity: I, record: R, version: str = "") -> None:
        """Take over a record; `version` is empty where no body of the API server says all of it."""
        self._touched[identity] = self.now()
        if version:
            self._versions[identity] = version
            self._amended.discard(identity)
        else:
            self._amended.add(identity)
        before = self._records.get(identity)
        if before != record:
            self._records[identity] = record
            self._changed(before, record)

    def drop(self, identity: I, version: str = "") -> bool:
        """Forget a record; neither a list that began earlier nor an older body brings it back.

        Returns whether there was one.
        """
        self._touched[identity] = self.now()
        if version:
            self._versions[identity] = version
        self._amended.discard(identity)
        before = self._records.pop(identity, None)
        if before is not None:
            self._changed(before, None)
        return before is not None

    def replace(self, listed: Mapping[I, R], since: int, versions: Mapping[I, str] = NO_VERSIONS) -> set[I]:
        """Take over a list that was requested at `since`; returns the identities that it changed.

        What an event has touched meanwhile is newer than the list and stays as it is.
        """
        changed = set()
        for identity in self._records.keys() | listed.keys():
            if self._touched.get(identity, 0) > since:
                continue
            self._versions[identity] = versions.get(identity, "")
            self._amended.discard(identity)
            before, after = self._records.get(identity), listed.get(identity)
            if before == after:
                continue
            changed.add(identity)
            if after is not None:
                self._records[identity] = after
            else:
                del self._records[identity]
            self._changed(before, after)
        self._touched = {i: at for i, at in self._touched.items() if i in self._records or at > since}
        self._versions = {i: v for i, v in self._versions.items() if i in self._records or i in self._touched}
        return changed
