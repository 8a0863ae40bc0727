"""Which Pods are in which pool, by their label; and which of them ended before they were gone."""

from collections.abc import Collection
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.cluster.records import PodRecord

ENDED_PODS: Final = 1000
"""Pods of one pool whose end is remembered after they are gone; the reaper asks for it within a second or so."""


class Members:
    """Each Pod is in one pool at most."""

    def __init__(self) -> None:
        self._pods_of: dict[PoolKey, dict[str, PodRecord]] = {}
        self._pool_of: dict[str, PoolKey] = {}
        self._ended_of: dict[PoolKey, dict[str, None]] = {}

    def of(self, key: PoolKey) -> list[PodRecord]:
        """The pods of one pool, oldest event first."""
        return list(self._pods_of.get(key, {}).values())

    def pools(self) -> Collection[PoolKey]:
        """Those that have Pods."""
        return self._pods_of.keys()

    def place(self, record: PodRecord) -> PoolKey | None:
        """Count a Pod in its pool, and in no other: a label can be changed. Returns the pool that it was in."""
        left = self._pool_of.get(record.uid)
        if left is not None and left != record.key:
            self.displace(record.uid)
        self._pool_of[record.uid] = record.key
        self._pods_of.setdefault(record.key, {})[record.uid] = record
        return left

    def displace(self, uid: str) -> PoolKey | None:
        """Count a Pod in no pool; returns the one that it was counted in."""
        key = self._pool_of.pop(uid, None)
        if key is not None:
            del self._pods_of[key][uid]
            if not self._pods_of[key]:
                del self._pods_of[key]
        return key

    def remember_end(self, pod: PodRecord) -> None:
        """A Pod is gone whose containers had all terminated."""
        ended = self._ended_of.setdefault(pod.key, {})
        ended[pod.uid] = None
        if len(ended) > ENDED_PODS:
            del ended[next(iter(ended))]

    def ended(self, key: PoolKey) -> Collection[str]:
        """The uids of a pool's Pods that are gone and were last seen with all their containers terminated."""
        return self._ended_of.get(key, {}).keys()

    def forget_ended(self, key: PoolKey) -> None:
        """Forget the Pods of a pool that is gone itself."""
        self._ended_of.pop(key, None)
