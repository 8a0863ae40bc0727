"""Dead letters of a queue: how many there are, what they are, and back into the queue with them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from celeriac.api.words import is_whole
from celeriac.brokers.protocol import DeadLetter
from celeriac.brokers.redis.calls import calling
from celeriac.brokers.redis.client import RedisClient
from celeriac.brokers.redis.envelopes import Envelope, in_list
from celeriac.brokers.redis.errors import write_doubt
from celeriac.brokers.redis.keys import dead_key, list_key
from celeriac.brokers.redis.letters import dead_reason_of, message_of, revived, step_of
from celeriac.brokers.redis.moves import MessageList, Move, move
from celeriac.brokers.redis.round_trip import ask_one
from celeriac.brokers.redis.traces import escaped
from celeriac.pool.model import QueueLayout

PAGE: Final = 100


class RedisDeadLetters:
    """See DeadLetters."""

    def __init__(self, client: RedisClient, where: str) -> None:
        self._client = client
        self._redis = client.redis
        self._where = where

    async def count(self, layout: QueueLayout, queue: str) -> int:
        """See DeadLetters.count."""
        return await calling(count(self._redis, layout.key_prefix, queue), self._client)

    async def queues(self, layout: QueueLayout) -> Mapping[str, int]:
        """See DeadLetters.queues."""
        return await calling(count_all(self._redis, layout.key_prefix), self._client)

    async def oldest(
        self, layout: QueueLayout, queue: str, most: int, *, ids: Collection[str] = ()
    ) -> Sequence[DeadLetter]:
        """See DeadLetters.oldest."""
        return await calling(oldest(self._redis, layout.key_prefix, queue, most, ids), self._client)

    async def newest(self, layout: QueueLayout, queue: str, most: int) -> Sequence[DeadLetter]:
        """See DeadLetters.newest."""
        return await calling(newest(self._redis, layout.key_prefix, queue, most), self._client)

    async def requeue(
        self, layout: QueueLayout, queue: str, *, to: str | None = None, ids: Collection[str] = ()
    ) -> int:
        """See DeadLetters.requeue."""
        return await calling(requeue(self._redis, layout, queue, to or queue, self._where, ids), self._client)

    async def purge(self, layout: QueueLayout, queue: str, *, ids: Collection[str] = ()) -> int:
        """See DeadLetters.purge."""
        if ids:
            return await calling(drop(self._redis, layout, queue, self._where, ids), self._client)
        return await calling(purge(self._redis, layout.key_prefix, queue), self._client)


async def count(redis: Redis, key_prefix: str, queue: str) -> int:
    """Dead letters of one queue."""
    return int(await ask_one(redis, "LLEN", dead_key(key_prefix, queue)))


async def count_all(redis: Redis, key_prefix: str) -> dict[str, int]:
    """Dead letters by queue, in the order of the names. Looks through all keys of the database."""
    start = dead_key(key_prefix, "")
    keys: set[str] = set()
    async for key in redis.scan_iter(match=f"{escaped(start)}*", count=1000):
        keys.add(key.decode(errors="replace"))
    names = sorted(key.removeprefix(start) for key in keys)
    return {name: await count(redis, key_prefix, name) for name in names}


async def oldest(redis: Redis, key_prefix: str, queue: str, most: int, ids: Collection[str] = ()) -> list[DeadLetter]:
    """The oldest of a queue first, `most` of them at most; those of these tasks alone where `ids` names some."""
    key = dead_key(key_prefix, queue)
    if not ids:
        return await _from(redis, key, 0, most)
    shown: list[DeadLetter] = []
    missing, first = set(ids), 0
    while missing and len(shown) < most and (found := await in_list(redis, key, first, PAGE)):
        first += len(found)
        named = [letter for each in found if (letter := _shown(each.text)).id in ids]
        shown += named
        missing.difference_update(letter.id for letter in named)
    return shown[:most]


async def newest(redis: Redis, key_prefix: str, queue: str, most: int) -> list[DeadLetter]:
    """The newest of a queue, `most` of them at most, in the order in which they came."""
    number = await count(redis, key_prefix, queue)
    return await _from(redis, dead_key(key_prefix, queue), max(number - most, 0), most)


async def _from(redis: Redis, key: str, first: int, most: int) -> list[DeadLetter]:
    """Letters from this place on, counted from the oldest."""
    shown: list[DeadLetter] = []
    while len(shown) < most and (found := await in_list(redis, key, first + len(shown), most - len(shown))):
        shown += [_shown(each.text) for each in found]
    return shown


async def requeue(
    redis: Redis, layout: QueueLayout, source: str, target: str, where: str, ids: Collection[str] = ()
) -> int:
    """Move dead letters of `source` to the producers' end of `target`, the oldest first; their number.

    What is no message stays. Those that die again meanwhile are not moved a second time.
    Raises BrokerDoubt where one cannot be moved.
    """
    return await _take(redis, layout, source, where, lambda each, place: _revival(each, place, layout, target, ids))


async def drop(redis: Redis, layout: QueueLayout, source: str, where: str, ids: Collection[str]) -> int:
    """Delete the dead letters of these tasks; their number."""

    def removal(letter: Envelope, place: int) -> Move | None:
        message = message_of(letter.text)
        return Move(b"%d" % place, letter) if message is not None and _is_of(message, ids) else None

    return await _take(redis, layout, source, where, removal)


async def _take(
    redis: Redis, layout: QueueLayout, source: str, where: str, choose: Callable[[Envelope, int], Move | None]
) -> int:
    """Make the moves that are chosen of the dead letters of `source`, from the oldest on; their number."""
    key = dead_key(layout.key_prefix, source)
    left, skipped, moved = await count(redis, layout.key_prefix, source), 0, 0
    while left > 0:
        found = await in_list(redis, key, skipped, min(PAGE, left))
        moves = [choose(each, place) for place, each in enumerate(found, skipped)]
        ours = [each for each in moves if each is not None]
        made = await move(redis, MessageList(key), ours)
        for each, done in zip(ours, made, strict=True):
            if isinstance(done, Exception):
                raise write_doubt(done, each.target or key, where)
        moved += made.count(True)
        skipped += moves.count(None)
        # Where another moves them at the same time, a place has another message by now: it is looked at again.
        left -= made.count(True) + moves.count(None)
        left = min(left, await count(redis, layout.key_prefix, source) - skipped)
    return moved


def _is_of(message: Mapping[str, Any], ids: Collection[str]) -> bool:
    headers = message.get("headers")
    return isinstance(headers, dict) and headers.get("id") in ids


def _revival(letter: Envelope, place: int, layout: QueueLayout, target: str, ids: Collection[str]) -> Move | None:
    """Back into a queue; None for what is not meant, is no message, or is nested too deep to be written."""
    message = message_of(letter.text)
    if message is None or (ids and not _is_of(message, ids)):
        return None
    to = list_key(layout, target, step_of(message, layout.priority_steps))
    try:
        return Move(b"%d" % place, letter, to, revived(message), push="LPUSH")
    except RecursionError:
        return None


async def purge(redis: Redis, key_prefix: str, queue: str) -> int:
    """Delete all dead letters of a queue; their number."""
    key = dead_key(key_prefix, queue)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.execute_command("LLEN", key)
        pipe.execute_command("DEL", key)
        reply: list[Any] = await pipe.execute()
    return int(reply[0])


def _shown(text: bytes) -> DeadLetter:
    message = message_of(text)
    if message is None:
        return DeadLetter("?", "?", "it is no message of Celery")
    headers = message.get("headers")
    named = headers if isinstance(headers, dict) else {}
    words = str(named.get("task", "?")), str(named.get("id", "?")), dead_reason_of(message)
    return DeadLetter(*(word if is_whole(word) else "?" for word in words))  # too long to be read
