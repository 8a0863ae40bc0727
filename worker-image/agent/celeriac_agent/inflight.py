"""The messages that one process holds, in the hash and the index of kombu's `unacked`, and the ways out of there."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .bindings import Binding
from .messages import STARTED_SCORE, Place, newest_first, place_of
from .settings import ProcessKeys

BATCH = 200  # messages moved per round trip,
BATCH_BYTES = 4 << 20  # and no more than so many bytes of them, unless one alone is larger

# Moves one message, if it still is what was read: idempotent, whoever races. KEYS: unacked, index[, list];
# ARGV: tag, raw[, payload, RPUSH or LPUSH]. It begins with a write that changes nothing: a Redis that is full lets a
# script go on that has written, and the move takes no more room than it frees.
MOVE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'celeriac')
if KEYS[3] then redis.call(ARGV[4], KEYS[3], ARGV[3]) end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""


@dataclass
class Moved:
    """How many messages went where, and what became of the tags; right up to where an error ended the moves."""

    queued: int = 0
    dead: int = 0
    dropped: int = 0
    sent: set[str] = field(default_factory=set)  # a move was sent; without an answer it may have been made or not
    gone: set[str] = field(default_factory=set)  # a move was made
    kept: set[str] = field(default_factory=set)  # the entry changed between the look and the move
    absent: set[str] = field(default_factory=set)  # Redis does not have it (any more)


class Going(NamedTuple):
    """A message on its way: its tag, its entry as it was read, and where it goes."""

    tag: str
    entry: Any
    place: Place


class InFlight:
    """What the process with these keys holds. All methods raise redis-py's errors."""

    def __init__(self, client: Any, keys: ProcessKeys, max_attempts: int) -> None:
        self._client, self._keys, self._max_attempts = client, keys, max_attempts
        self._unacked, self._index = keys.prefix + keys.unacked, keys.prefix + keys.index

    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return not self._client.hlen(self._unacked)

    def restore(self, *, died: bool, skip: Collection[str] = (), only: Collection[str] | None = None) -> Moved:
        """Put back all of it, or `only` some, except `skip`; started messages count a death with `died`."""
        scores = {text(tag): score for tag, score in self._client.zrange(self._index, 0, -1, withscores=True)}
        tags = [text(tag) for tag in self._client.hkeys(self._unacked)]
        started = {tag for tag, score in scores.items() if score >= STARTED_SCORE} if died else set()
        wanted = [tag for tag in tags if tag not in skip and (only is None or tag in only)]
        moved = Moved()
        for batch in self._batches(newest_first(scores, wanted)):
            self._move(batch, moved, started=started, redelivered=True)
        return moved

    def give_back(self, tags: list[str], moved: Moved, until: float) -> None:
        """Put messages that were not started back to where they came from, as they were; the newest comes first.

        No batch is begun after the moment `until` (monotonic seconds).
        """
        for batch in self._batches(tags):
            self._move(batch, moved, started=(), redelivered=False)
            if time.monotonic() > until:
                break

    def push_again(self, entry: str) -> Moved:
        """Put a message of which Redis knows nothing any more, as kombu would keep it, to where it came from."""
        place = self._place_of(entry, died=False, redelivered=False)
        if place.key is None:
            return Moved(dropped=1)
        key = self._keys.prefix + place.key
        (self._client.lpush if place.dead else self._client.rpush)(key, place.payload)
        return Moved(dead=int(place.dead), queued=int(not place.dead))

    def delivered_before(self, tags: Collection[str], moment: float) -> set[str]:
        """Those of the tags that were delivered before a moment, in Unix seconds."""
        scores = self._client.zrange(self._index, 0, -1, withscores=True)
        return {text(tag) for tag, score in scores if score % STARTED_SCORE < moment} & set(tags)

    def _move(self, batch: list[str], moved: Moved, *, started: Collection[str], redelivered: bool) -> None:
        entries = dict(zip(batch, self._client.hmget(self._unacked, batch)))
        going = [
            Going(tag, entry, self._place_of(entry, died=tag in started, redelivered=redelivered))
            for tag, entry in entries.items()
            if entry is not None
        ]
        moved.absent |= {tag for tag, entry in entries.items() if entry is None}
        if going:
            self._move_batch(going, moved)

    def _batches(self, tags: list[str]) -> Iterator[list[str]]:
        """Split them so that neither a round trip nor the messages in memory are large."""
        for first in range(0, len(tags), BATCH):
            some = tags[first : first + BATCH]
            with self._client.pipeline(transaction=False) as pipe:
                for tag in some:
                    pipe.hstrlen(self._unacked, tag)
                lengths = pipe.execute()
            batch: list[str] = []
            size = 0
            for tag, length in zip(some, lengths):
                if batch and size + length > BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
                batch.append(tag)
                size += length
            yield batch

    def _place_of(self, entry: Any, *, died: bool, redelivered: bool) -> Place:
        return place_of(
            *(entry, self._bound, self._keys), died=died, max_attempts=self._max_attempts, redelivered=redelivered
        )

    def _bound(self, exchange: str) -> list[Binding]:
        """The table of an exchange; rows that kombu did not write are left out."""
        members = self._client.smembers(f"{self._keys.prefix}_kombu.binding.{exchange}")
        rows = (text(member).split(self._keys.separator) for member in members)
        return [Binding(*row) for row in rows if len(row) == 3]

    def _move_batch(self, going: list[Going], moved: Moved) -> None:
        dead = [each for each in going if each.place.dead]
        # A worker that waits on all steps is served from the list that was filled first: the urgent one has to be that.
        living = sorted((each for each in going if not each.place.dead), key=lambda each: each.place.step)
        ordered = living + dead[::-1]  # dead letters go in at the other end, so the oldest goes first
        with self._client.pipeline(transaction=False) as pipe:
            for tag, entry, place in ordered:
                if place.key is None:
                    pipe.eval(MOVE, 2, self._unacked, self._index, tag, entry)
                else:
                    push, key = "LPUSH" if place.dead else "RPUSH", self._keys.prefix + place.key
                    pipe.eval(MOVE, 3, self._unacked, self._index, key, tag, entry, place.payload, push)
            moved.sent |= {each.tag for each in ordered}
            done = pipe.execute()
        for (tag, _, place), count in zip(ordered, done):
            (moved.gone if count else moved.kept).add(tag)
            moved.dropped += count * (place.key is None)
            moved.dead += count * place.dead
            moved.queued += count * (place.key is not None and not place.dead)


def text(value: Any) -> str:
    """A reply of Redis as text, whether the application decodes replies or not."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
