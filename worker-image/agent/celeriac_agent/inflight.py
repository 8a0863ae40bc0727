"""The messages that one process holds, in the hash and the index of kombu's `unacked`, and the ways out of there."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from .messages import STARTED_SCORE, Place, mark_redelivered, newest_first, place, source_queue
from .settings import ProcessKeys

BATCH = 200  # messages moved per round trip

# Moves one message, if it still is what was read: idempotent, whoever races. KEYS: unacked, index[, list];
# ARGV: tag, raw[, payload, RPUSH or LPUSH].
MOVE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if KEYS[3] then redis.call(ARGV[4], KEYS[3], ARGV[3]) end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""


@dataclass
class Moved:
    """How many messages went where."""

    queued: int = 0
    dead: int = 0
    dropped: int = 0
    unreadable: int = 0  # no message of kombu's: left where they are


class InFlight:
    """What the process with these keys holds. All methods raise redis-py's errors."""

    def __init__(self, client: Any, keys: ProcessKeys, max_attempts: int) -> None:
        self._client, self._keys, self._max_attempts = client, keys, max_attempts
        self._unacked, self._index = keys.prefix + keys.unacked, keys.prefix + keys.index

    def try_to_move(self) -> None:
        """Move nothing; raises where an ACL forbids to move anything."""
        self._client.eval(MOVE, 2, self._unacked, self._index, "", "")

    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return not self._client.hlen(self._unacked)

    def restore(self, *, died: bool, skip: Collection[str] = ()) -> Moved:
        """Put back all of it, except `skip`; started messages count a death with `died`."""
        scores = {text(tag): score for tag, score in self._client.zrange(self._index, 0, -1, withscores=True)}
        tags = [text(tag) for tag in self._client.hkeys(self._unacked)]

        def decide(tag: str, message: dict[str, Any], queue: str | None) -> Place:
            mark_redelivered(message)
            started = died and scores.get(tag, 0.0) >= STARTED_SCORE
            return place(message, queue, self._keys, died=started, max_attempts=self._max_attempts)

        return self._move(newest_first(scores, [tag for tag in tags if tag not in skip]), decide)

    def give_back(self, tags: list[str]) -> Moved:
        """Put messages that were not started back to where they came from, as they were."""

        def decide(tag: str, message: dict[str, Any], queue: str | None) -> Place:
            return place(message, queue, self._keys, died=False, max_attempts=self._max_attempts)

        return self._move(tags, decide)

    def _bound(self, exchange: str) -> Collection[str]:
        members = self._client.smembers(f"{self._keys.prefix}_kombu.binding.{exchange}")
        return {text(member).split(self._keys.separator)[-1] for member in members}

    def _move(self, tags: list[str], decide: Callable[[str, dict[str, Any], str | None], Place]) -> Moved:
        moved = Moved()
        for start in range(0, len(tags), BATCH):
            batch = tags[start : start + BATCH]
            places = []
            with self._client.pipeline(transaction=False) as pipe:
                for number, raw in enumerate(self._client.hmget(self._unacked, batch)):
                    if raw is None:
                        continue
                    tag = batch[number]
                    try:
                        message, exchange, routing_key = json.loads(raw)
                        queue = source_queue(message, exchange or "", routing_key or "", self._bound)
                        target = decide(tag, message, queue)
                    except (ValueError, TypeError, AttributeError, KeyError):
                        moved.unreadable += 1
                        continue
                    places.append(target)
                    if target.key is None:
                        pipe.eval(MOVE, 2, self._unacked, self._index, tag, raw)
                    else:
                        push = "LPUSH" if target.leftmost else "RPUSH"
                        key = self._keys.prefix + target.key
                        pipe.eval(MOVE, 3, self._unacked, self._index, key, tag, raw, target.payload, push)
                done = pipe.execute() if places else []
            for number, target in enumerate(places):
                count = done[number]
                moved.dropped += count * (target.key is None)
                moved.dead += count * target.dead
                moved.queued += count * (target.key is not None and not target.dead)
        return moved


def text(value: Any) -> str:
    """A reply of Redis as text, whether the application decodes replies or not."""
    return value.decode() if isinstance(value, bytes) else str(value)
