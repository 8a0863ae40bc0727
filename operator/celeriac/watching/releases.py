"""Lets go of pools that another operator is to have: once nothing of this one's is under way for them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from celeriac.api.keys import PoolKey
from celeriac.cluster.errors import ApiError, Unavailable
from celeriac.watching.shard import LETS_GO_SECONDS
from celeriac.watching.store import KnownPool

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.1
AGAIN_SECONDS: Final = 2.0


class Releaser(Protocol):
    """Takes an operator's name out of a pool's status (`celeriac.cluster.client.Api`)."""

    async def release_pool(self, key: PoolKey, uid: str, operator: str) -> None:
        """Raises Conflict or NotFound where it is not there, or another ApiError."""


class Releases:
    """Clears this operator's name in the status of each pool that has left it."""

    def __init__(
        self,
        api: Releaser,
        operator: str,
        *,
        has: Callable[[PoolKey], bool],
        is_busy: Callable[[PoolKey], bool],
    ) -> None:
        """`has` tells whether a pool is this operator's, `is_busy` whether something may still be written for it."""
        self._has = has
        self._api = api
        self._operator = operator
        self._is_busy = is_busy
        self._under_way: set[asyncio.Task[None]] = set()

    def left(self, known: KnownPool) -> None:
        """A pool is gone, or another operator's now."""
        if self._operator:
            task = asyncio.get_running_loop().create_task(self._release(known))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _release(self, known: KnownPool) -> None:
        """One that comes back meanwhile is kept. After LETS_GO_SECONDS the next operator waits no longer."""
        try:
            async with asyncio.timeout(LETS_GO_SECONDS):
                while not self._has(known.key):
                    if not self._is_busy(known.key) and await self._try(known):
                        return
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            log.warning("pool %s: the next operator could not be told that this one has let go", known.key)

    async def _try(self, known: KnownPool) -> bool:
        """Whether there is nothing left to do."""
        try:
            await self._api.release_pool(known.key, known.uid, self._operator)
            log.info("pool %s: this operator has let go of it", known.key)
        except Unavailable:
            await asyncio.sleep(AGAIN_SECONDS)
            return False
        except ApiError as error:
            log.debug("pool %s: nothing to let go of: %s", known.key, error)
        return True
