"""Numbers by which whoever keeps what it made of a pool sees whether to make it anew."""

import hashlib
import itertools
import json
from collections.abc import Collection
from typing import Any

from celeriac.api.keys import PoolKey


def digest(value: Any) -> bytes:
    """Of the text of something that came as JSON; empty for what is none."""
    try:
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    except (TypeError, ValueError, RecursionError):
        return b""


class Revisions:
    """One number for each pool, and one for all pools as a set. They grow with each change that is noted."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._of: dict[PoolKey, int] = {}
        self.pools = 0
        self.latest = 0
        """The number of the last change of any pool."""

    def of(self, key: PoolKey) -> int:
        """The number of one pool; 0 while nothing is known of it."""
        return self._of.get(key, 0)

    def note(self, *keys: PoolKey) -> None:
        """Something known of these pools has changed. One that was forgotten comes back with a number it never had."""
        for key in keys:
            self._of[key] = self.latest = next(self._count)

    def note_pools(self) -> None:
        """The set of pools has changed, or what one of them asks for."""
        self.pools = next(self._count)

    def keep(self, keys: Collection[PoolKey]) -> None:
        """Forget all pools but these."""
        self._of = {key: number for key, number in self._of.items() if key in keys}
