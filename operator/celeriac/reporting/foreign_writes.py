"""Whether somebody else has written a pool's status since the operator did; in virtual time.

The watch tells what the API server has. What it had before the last write may come late, and is nobody's word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from celeriac.api.keys import PoolKey
from celeriac.watching.store import KnownPool

LATE_SECONDS: Final = 5.0
"""An earlier write of the operator's own may be seen so long after the next."""


@dataclass(slots=True)
class _Seen:
    """What was seen of one pool.

    before   what the API server had when the status was written last
    strange  since when it has something that nobody here wrote (monotonic seconds)
    """

    uid: str
    before: Mapping[str, Any]
    strange: float | None = None


class ForeignWrites:
    """Remembers what each pool's status was when it was written. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._pools: dict[PoolKey, _Seen] = {}

    def forget(self, key: PoolKey) -> None:
        """Forget a deleted pool."""
        self._pools.pop(key, None)

    def forget_all(self) -> None:
        """Begin anew."""
        self._pools.clear()

    def written(self, known: KnownPool) -> None:
        """The status of this pool was written now."""
        self._pools[known.key] = _Seen(known.uid, known.status)

    def seconds_left(self, known: KnownPool, written: Mapping[str, Any], now: float) -> float | None:
        """After how long what somebody else wrote is to be written over, at most 0: now; None: nobody did.

        `written` is what the operator wrote last. What it cannot have written is certainly somebody else's.
        """
        seen = self._pools.get(known.key)
        if seen is None or seen.uid != known.uid:
            return None if known.status_whole else 0.0
        if known.status_whole and known.status in (seen.before, written):
            if known.status == written:
                seen.before = written
            seen.strange = None
            return None
        if seen.strange is None:
            seen.strange = now
        return seen.strange + LATE_SECONDS - now
