"""Which of some names are those of queues that this Redis knows."""

from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from celeriac.brokers.redis.calls import calling
from celeriac.brokers.redis.client import RedisClient
from celeriac.brokers.redis.keys import binding_key, list_key
from celeriac.brokers.redis.queries import Script
from celeriac.brokers.redis.round_trip import run_script
from celeriac.pool.model import QueueLayout

# LLEN needs no right that reading does not need. Of a set it is an error, and that says that the set is there.
KNOWN: Final = Script("""
local found = {}
for i = 1, #KEYS do
  local length = redis.pcall('LLEN', KEYS[i])
  if type(length) == 'table' then
    if string.sub(length.err, 1, 9) == 'WRONGTYPE' then found[#found + 1] = i end
  elseif length > 0 then found[#found + 1] = i end
end
return table.concat(found, ',')
""")


class RedisQueueNames:
    """See QueueNames."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def known(self, layout: QueueLayout, names: Sequence[str]) -> Sequence[str]:
        """See QueueNames.known."""
        return await calling(known(self._client.redis, layout, names), self._client)


async def known(redis: Redis, layout: QueueLayout, names: Sequence[str]) -> list[str]:
    """Those that have a binding or messages. A user who may not look at lists of other names sees bindings alone."""
    bindings = await _found(redis, [binding_key(layout.key_prefix, name) for name in names])
    lists = await _found(redis, [list_key(layout, name, 0) for name in names])
    return [name for at, name in enumerate(names, 1) if at in bindings or at in lists]


async def _found(redis: Redis, keys: Sequence[str]) -> set[int]:
    """Places of those that are there, from 1 on; none where the user may not look at one of them."""
    reply = await run_script(redis, KNOWN, (len(keys), *keys), 0)
    if not isinstance(reply, bytes):
        return set()
    return {int(place) for place in reply.split(b",") if place.isdigit()}
