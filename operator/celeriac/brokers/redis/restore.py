"""Puts back what a process held that is gone: newest first, so that the oldest is consumed next and order is kept."""

import heapq
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from redis.asyncio import Redis

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import NotAllRestored, Process, Restored
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import UNROUTABLE
from celeriac.brokers.redis.bindings import Binding, bindings_of
from celeriac.brokers.redis.envelopes import LOOK_BYTES, Envelope, Unread, how_many, in_hash
from celeriac.brokers.redis.errors import write_doubt
from celeriac.brokers.redis.keys import dead_key, list_key
from celeriac.brokers.redis.letters import BROADCAST, NO_ROUTE, Letter, letter_of, redelivered, step_of
from celeriac.brokers.redis.moves import BATCH, Move, Unacked, move
from celeriac.brokers.redis.reading_plan import Share
from celeriac.brokers.redis.registry import forget_process, held_keys
from celeriac.brokers.redis.round_trip import ask, ask_one
from celeriac.pool.model import QueueLayout

STARTED: Final = 1e12
"""The agent adds this to a message's score in its index when the task starts; by itself it is a Unix time."""

MUCH: Final = "the worker held more than is moved at a time, and the rest follows: wait"
ROUNDS: Final = 3
PORTION_BYTES: Final = 1024 * 1024
"""Of envelopes that are judged and moved together: BATCH ordinary ones have 400 KiB."""


@dataclass(frozen=True, slots=True)
class Held:
    """A message in an unacked hash. `at` is when it was delivered (Unix time), `started` whether its task began."""

    tag: bytes
    at: float = 0.0
    started: bool = False


@dataclass(frozen=True, slots=True)
class Hash:
    """An unacked hash with its index, and how the queues beside it are laid out."""

    unacked: str
    index: str
    layout: QueueLayout

    @property
    def messages(self) -> Unacked:
        """As a source of moves."""
        return Unacked(self.unacked, self.index)

    @property
    def share(self) -> Share:
        """Where the bindings of exchanges are."""
        return Share(self.layout.key_prefix, self.layout.separator)


@dataclass(frozen=True, slots=True)
class Disposal:
    """What becomes of one message, and how it is counted. `step` is the priority step of the list that it goes to."""

    move: Move
    effect: Restored
    step: int = 0


NOTHING: Final = Restored()


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of some messages. `doubt` tells why the first of those that could not be moved was not."""

    restored: Restored = NOTHING
    doubt: BrokerDoubt | None = None

    def __add__(self, other: "Carried") -> "Carried":
        return Carried(self.restored + other.restored, self.doubt or other.doubt)

    def result(self) -> Restored:
        """What was restored. Raises NotAllRestored where that is not all."""
        if self.doubt is not None:
            raise NotAllRestored(self.doubt, self.restored)
        return self.restored


@dataclass(frozen=True, slots=True)
class Portion:
    """Some of the messages that were to be read, and what became of those that were not."""

    found: Sequence[tuple[Held, Envelope]]
    carried: Carried


async def restore(redis: Redis, process: Process, where: str, *, died: bool, seconds: float | None = None) -> Restored:
    """Move all that the process held, then forget it. Raises NotAllRestored where some messages cannot be moved.

    After so many seconds it begins no other portion, and raises that as well: the next call goes on.
    A process that lives in spite of all takes new messages meanwhile: it is not chased for ever.
    """
    until = math.inf if seconds is None else time.monotonic() + seconds
    unacked, index, _ = held_keys(process)
    source = Hash(unacked, index, process.layout)
    limit = process.max_attempts if died else 0
    total = Carried()
    for _ in range(ROUNDS):
        async for some in _newest_first(redis, source):
            async for portion in entries(redis, source, some, where):
                total += portion.carried
                total += await _restore_some(redis, source, portion.found, died=died, limit=limit, where=where)
                if time.monotonic() > until:
                    raise NotAllRestored(BrokerDoubt(Reason.BROKER_ERROR, f"{where}: {MUCH}"), total.restored)
        if total.doubt is not None or await forget_process(redis, process):
            break
    return total.result()


async def entries(redis: Redis, source: Hash, held: Sequence[Held], where: str) -> AsyncIterator[Portion]:
    """Read their envelopes, a portion at a time; those that are gone are left out, and leave the index."""
    sizes: list[int] = await ask(redis, [("HSTRLEN", source.unacked, each.tag) for each in held])
    first = 0
    while first < len(held):
        until = first + how_many(sizes[first:], LOOK_BYTES)
        found: list[Envelope | Unread | None] = []
        while first + len(found) < until and sum(each.read for each in found if each is not None) < PORTION_BYTES:
            at = first + len(found)
            tags = [each.tag for each in held[at:until]]
            found += await in_hash(redis, source.unacked, tags, sizes[at:until])
        some = list(zip(held[first : first + len(found)], found, strict=True))
        first += len(found)
        gone = [each.tag for each, entry in some if entry is None]
        if gone:
            await ask_one(redis, "ZREM", source.index, *gone)
        unread = next((entry for _, entry in some if isinstance(entry, Unread)), None)
        doubt = None if unread is None else unread.doubt(source.unacked, where)
        yield Portion([(each, entry) for each, entry in some if isinstance(entry, Envelope)], Carried(doubt=doubt))


async def tables(redis: Redis, share: Share, found: Sequence[tuple[Held, Envelope]]) -> dict[str, list[Binding]]:
    """The bindings of those exchanges without which a message's queue is not known."""
    letters = (letter_of(entry.text) for _, entry in found)
    exchanges = {letter.exchange for letter in letters if letter is not None and letter.needs_bindings}
    bound = {}
    for exchange in sorted(exchanges):
        rows = await ask_one(redis, "SMEMBERS", share.binding_key(exchange))
        bound[exchange] = bindings_of(rows, share.separator)
    return bound


async def carry_out(redis: Redis, source: Hash, disposals: Sequence[Disposal], where: str) -> Carried:
    """Make the moves; what another has moved meanwhile does not count. A refused one keeps no other back."""
    total = Carried()
    made = await move(redis, source.messages, [disposal.move for disposal in disposals])
    for disposal, done in zip(disposals, made, strict=True):
        if isinstance(done, Exception):
            total += Carried(doubt=write_doubt(done, disposal.move.target or source.unacked, where))
        elif done:
            total += Carried(disposal.effect)
    return total


def back(source: Hash, held: Held, entry: Envelope, letter: Letter, queue: str) -> Disposal:
    """To the consumed end of its queue, as kombu restores it."""
    try:
        return _back(source, held, entry, letter, queue, letter.deaths)
    except RecursionError:  # nested so deep that it can be read and not written
        return _dead(source, held, entry, UNROUTABLE, entry.text)


async def _restore_some(
    redis: Redis, source: Hash, some: Sequence[tuple[Held, Envelope]], *, died: bool, limit: int, where: str
) -> Carried:
    bindings = await tables(redis, source.share, some)
    # One at a time is parsed: a hostile text takes up twenty times its length then.
    disposals = [judge(source, held, entry, bindings, died=died, limit=limit) for held, entry in some]
    dead = [disposal for disposal in disposals if disposal.effect.dead]
    # A worker that waits on all steps is served from the list that was filled first: the urgent one has to be that.
    living = sorted((each for each in disposals if not each.effect.dead), key=lambda each: each.step)
    # Dead letters go in at the other end, so the oldest goes first.
    return await carry_out(redis, source, living + dead[::-1], where)


def judge(
    source: Hash,
    held: Held,
    entry: Envelope,
    bindings: Mapping[str, Sequence[Binding]],
    *,
    died: bool,
    limit: int,
) -> Disposal:
    """Back into its queue, or a dead letter, or dropped. `limit` is the number of deaths that is too many; 0: none.

    The agent decides the same for its own messages (worker-image/agent/celeriac_agent/messages.py), by the same cases.
    """
    try:
        return _judge(source, held, entry, bindings, died=died, limit=limit)
    except RecursionError:  # nested so deep that it can be read and not written
        return _dead(source, held, entry, UNROUTABLE, entry.text)


def _judge(
    source: Hash,
    held: Held,
    entry: Envelope,
    bindings: Mapping[str, Sequence[Binding]],
    *,
    died: bool,
    limit: int,
) -> Disposal:
    letter = letter_of(entry.text)
    if letter is None:
        return _dead(source, held, entry, UNROUTABLE, entry.text)
    queue = letter.queue(bindings)
    if queue == BROADCAST:
        return Disposal(Move(held.tag, entry), Restored(dropped=1))
    deaths = letter.deaths + (died and held.started)
    if queue is None:
        return _dead(source, held, entry, UNROUTABLE, redelivered(letter, deaths, NO_ROUTE))
    if deaths > letter.deaths and 0 < limit <= deaths:
        reason = f"it was started in {deaths} processes that died"
        return _dead(source, held, entry, queue, redelivered(letter, deaths, reason))
    return _back(source, held, entry, letter, queue, deaths)


def _back(source: Hash, held: Held, entry: Envelope, letter: Letter, queue: str, deaths: int) -> Disposal:
    step = step_of(letter.message, source.layout.priority_steps)
    move_ = Move(held.tag, entry, list_key(source.layout, queue, step), redelivered(letter, deaths))
    return Disposal(move_, Restored(restored=1), step)


def _dead(source: Hash, held: Held, entry: Envelope, queue: str, message: bytes) -> Disposal:
    target = dead_key(source.layout.key_prefix, queue)
    move_ = Move(held.tag, entry, target, message, push="LPUSH")
    return Disposal(move_, Restored(dead=1))


async def _newest_first(redis: Redis, source: Hash) -> AsyncIterator[list[Held]]:
    """What the hash holds, BATCH at a time; last what its index does not know."""
    size = await ask_one(redis, "ZCARD", source.index)
    for _ in range(2 + 2 * (size // BATCH)):
        waiting = await _newest(redis, source.index, f"({STARTED}", "-inf")
        started = await _newest(redis, source.index, "+inf", f"{STARTED}")
        some = list(islice(heapq.merge(waiting, started, key=lambda held: held.at, reverse=True), BATCH))
        if not some:
            break
        yield some
    else:
        return
    # Those that cannot be moved stay, and may be named again: there is an end to that.
    left = await ask_one(redis, "HLEN", source.unacked)
    for _ in range(1 + 2 * (left // BATCH)):
        tags = await ask_one(redis, "HRANDFIELD", source.unacked, BATCH)
        if not tags:
            break
        yield [Held(tag) for tag in tags]


async def _newest(redis: Redis, index: str, highest: str, lowest: str) -> list[Held]:
    reply: Any = redis.zrevrangebyscore(index, highest, lowest, start=0, num=BATCH, withscores=True)
    return [Held(tag, score % STARTED, score >= STARTED) for tag, score in await reply]
