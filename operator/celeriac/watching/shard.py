"""Which pools are this operator's, where several operators share a cluster.

Each pool's status names the operator that has it. One that no longer serves a pool clears its name there once nothing
is under way any more, and only then the next one takes it: at no time do two of them act. One that died without a word
is waited for, longer than any operator goes on with a pool that it should have seen leave.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from celeriac.api.keys import PoolKey
from celeriac.cluster.body import Body

log = logging.getLogger(__name__)

LETS_GO_SECONDS: Final = 150.0
"""After which the last operator of a pool has let go, even one whose watch fell silent: a full list comes every 120 s.

Monotonic seconds of this process, since it first saw the pool.
"""


class Shard:
    """The part of all pools that one operator serves."""

    def __init__(
        self, operator: str, *, by_namespace: bool, by_pool: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`operator` is its name in the status of its pools; who shares with nobody needs none.

        by_namespace   whether only some namespaces are served, which become known later and may change
        by_pool        whether the API server selects the pools
        """
        self.operator = operator if by_namespace or by_pool else ""
        self._namespaces: frozenset[str] | None = frozenset() if by_namespace else None
        self._waiting: dict[PoolKey, _Other] = {}
        self._clock = clock

    @property
    def is_shared(self) -> bool:
        """Whether pools there are may be another operator's."""
        return bool(self.operator)

    @property
    def namespaces(self) -> Collection[str]:
        """Those that are served, where only some are."""
        return self._namespaces or ()

    def serve(self, namespaces: Collection[str]) -> None:
        """These namespaces are served now, and no others."""
        self._namespaces = frozenset(namespaces)

    def takes(self, body: Body) -> bool:
        """Whether a pool is this operator's now. One that another still has is asked about again with each list."""
        key = _key(body)
        if self._namespaces is not None and key.namespace not in self._namespaces:
            self._waiting.pop(key, None)
            return False
        other = _operator(body) if self.is_shared else ""
        if other in ("", self.operator):
            self._waiting.pop(key, None)
            return True
        return self._waited_for(key, other)

    def forget(self, body: Body) -> None:
        """The pool is gone, or not selected any more."""
        self._waiting.pop(_key(body), None)

    def _waited_for(self, key: PoolKey, other: str) -> bool:
        waiting = self._waiting.get(key)
        if waiting is None or waiting.operator != other:
            log.info("pool %s: operator %s has it still", key, other)
            self._waiting[key] = waiting = _Other(other, self._clock())
        if self._clock() - waiting.since < LETS_GO_SECONDS:
            return False
        log.warning("pool %s: operator %s has not let go of it within %.0f s", key, other, LETS_GO_SECONDS)
        return True


class _Other(NamedTuple):
    """The operator that a pool is waited for, and since when."""

    operator: str
    since: float


def _key(body: Body) -> PoolKey:
    return PoolKey(body["metadata"]["namespace"], body["metadata"]["name"])


def _operator(body: Body) -> str:
    status = body.get("status")
    name = status.get("operator") if isinstance(status, Mapping) else None
    return name if isinstance(name, str) else ""


WHOLE: Final = Shard("", by_namespace=False, by_pool=False)
"""Of an operator that shares with nobody."""
