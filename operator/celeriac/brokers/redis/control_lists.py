"""The lists that Celery's events and remote control leave behind: of a monitor, or of a worker, that died.

What a monitor or an asker reads has a name with a uuid that its process made for itself (celery/events/receiver.py,
kombu/pidbox.py): no other process ever reads it. Redis does not tell who waits at a list, and a worker that lives has
late answers now and then. So a list is told with its oldest message, and whoever looks twice knows: a reader takes that
one first, and at once, so that a list whose oldest message has stayed has none. Those that expire go by themselves
(kombu 5.7), and are left out.

An app may rename what these lists are known by. Answers are found whatever its control_exchange is called. Events are
found under another event_queue_prefix, by their binding, or under another event_exchange, by the name of the list;
where an app sets both, nothing tells its lists from queues of somebody's own.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse

from celeriac.brokers.protocol import ControlList, ControlLists
from celeriac.brokers.redis.bindings import bindings_of
from celeriac.brokers.redis.calls import calling
from celeriac.brokers.redis.client import RedisClient
from celeriac.brokers.redis.keys import binding_key
from celeriac.brokers.redis.parser import NO_REDIS
from celeriac.brokers.redis.queries import Script
from celeriac.brokers.redis.round_trip import run_script
from celeriac.brokers.redis.shapes import is_count, is_text
from celeriac.brokers.redis.traces import names_between
from celeriac.pool.model import QueueLayout

_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of such lists.

    exchange        Celery's default name of it: what is bound there is of this kind if `bound` says so
    before, behind  how the names of lists begin and end that are looked for among all keys; those that are `named` so
                    are of this kind
    """

    exchange: str
    bound: re.Pattern[str]
    before: str
    behind: str
    named: re.Pattern[str]


_ANSWERS: Final = re.compile(rf"{_UUID}\.reply\..+\.pidbox", re.DOTALL)
KINDS: Final = (
    Kind("celeryev", re.compile(rf".+\.{_UUID}", re.DOTALL), "celeryev.", "", re.compile(rf"celeryev\.{_UUID}")),
    Kind("reply.celery.pidbox", _ANSWERS, "", ".pidbox", _ANSWERS),
)
MOST_MEMBERS: Final = 5000
"""Bindings of one exchange that are looked at;"""
MOST_LISTS: Final = 500
"""lists in all;"""
MOST_BYTES: Final = 16 * 1024 * 1024
"""and bytes of oldest messages: an answer may have 17 MB (celery#2205)."""
LOOK_SECONDS: Final = 1.0
"""For the bindings of one exchange, and for the keys of one kind: whoever asks waits for the answer for 10 s."""
PAGE: Final = 1000

# The message stays in Redis. Its end holds its delivery tag, which no other message has.
LISTS: Final = Script("""
local left, found = tonumber(ARGV[1]), {}
for i = 1, #KEYS do
  if left < 0 then return {0, found} end
  local length = redis.pcall('LLEN', KEYS[i])
  if type(length) == 'table' then
    if string.sub(length.err, 1, 9) ~= 'WRONGTYPE' then return length end
  elseif length > 0 and redis.call('PTTL', KEYS[i]) == -1 then
    local oldest = redis.call('LRANGE', KEYS[i], -1, -1)[1]
    left = left - #oldest
    found[#found + 1] = {i, length, #oldest, redis.sha1hex(string.sub(oldest, -1024))}
  end
end
return {1, found}
""")


class RedisControlLists:
    """See ControlListReader."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def look(self, layout: QueueLayout) -> ControlLists:
        """See ControlListReader.look."""
        return await calling(look(self._client.redis, layout), self._client)


async def look(redis: Redis, layout: QueueLayout) -> ControlLists:
    """Those of a binding wherever they are, and those without one as far as keys can be looked through in a moment."""
    names: set[str] = set()
    is_whole = True
    for kind in KINDS:
        bound, all_bound = await _bound(redis, binding_key(layout.key_prefix, kind.exchange), layout.separator)
        there, all_there = await names_between(
            redis, layout.key_prefix + kind.before, kind.behind, seconds=LOOK_SECONDS, most=MOST_LISTS
        )
        names |= {name for name in bound if kind.bound.fullmatch(name)}
        names |= {name for each in there if kind.named.fullmatch(name := f"{kind.before}{each}{kind.behind}")}
        is_whole &= all_bound and all_there
    keys = [f"{layout.key_prefix}{name}" for name in sorted(names)]
    found, all_found = await _looked_at(redis, keys[:MOST_LISTS])
    return ControlLists(found, is_whole and all_found and len(keys) <= MOST_LISTS)


async def _bound(redis: Redis, key: str, separator: str) -> tuple[set[str], bool]:
    """Queues of an exchange, and whether those are all of them."""
    members: set[bytes] = set()
    cursor, until = 0, time.monotonic() + LOOK_SECONDS
    while len(members) < MOST_MEMBERS and time.monotonic() < until:
        page: Any = await redis.sscan(key, cursor, count=PAGE)
        cursor, found = page
        members.update(found)
        if not cursor:
            break
    return {each.queue for each in bindings_of(members, separator)}, not cursor


async def _looked_at(redis: Redis, keys: Sequence[str]) -> tuple[tuple[ControlList, ...], bool]:
    """Those of the keys that are lists with messages, and whether that was found out of all."""
    if not keys:
        return (), True
    reply = await run_script(redis, LISTS, (len(keys), *keys, MOST_BYTES), MOST_BYTES)
    if isinstance(reply, Exception):
        raise reply
    if not isinstance(reply, list) or len(reply) != 2 or not all(map(_fits, reply[1])):
        raise InvalidResponse(NO_REDIS)
    is_all, found = reply
    lists = (ControlList(keys[at - 1], length, size * length, end.decode()[:12]) for at, length, size, end in found)
    return tuple(lists), bool(is_all)


def _fits(found: Any) -> bool:
    return isinstance(found, list) and len(found) == 4 and all(map(is_count, found[:3])) and is_text(found[3])
