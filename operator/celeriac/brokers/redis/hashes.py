"""Reads hashes of agents as far as there is room: anybody may fill them."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.errors import is_about_a_key, registry_doubt
from celeriac.brokers.redis.executor import Executor
from celeriac.brokers.redis.part_queries import HashPart, fields_of
from celeriac.brokers.redis.queries import Count, Query, counts_of

MOST_ENTRIES: Final = 10_000
"""Fields of one hash that are read, and of all hashes in one round trip."""
PART: Final = 100
"""What is read of a hash for which there is no room: enough that what is gone goes, part by part."""
AT_ONCE: Final = 200
"""Hashes that are read in one round trip, where they have no more fields than one may have."""
LONGEST: Final = 20_000
"""Bytes of a field with its name: a registration has some 700, a report no more than 16,384."""
TRIP_BYTES: Final = 12 * 1024 * 1024
"""Of all hashes in one round trip; each has its share of them by its number of fields."""


@dataclass(frozen=True, slots=True)
class Hash:
    """Fields of a hash. `size` is how many it has: more than were read, where there was no room for all."""

    key: str
    fields: Mapping[bytes, bytes]
    size: int


async def hashes(
    executor: Executor, keys: Sequence[str], where: str, room: int, most: int
) -> AsyncIterator[tuple[int, Hash | BrokerDoubt]]:
    """Read hashes, the small ones first, each with its place among the keys; what was read before may be let go.

    Raises what Redis answers if it is not about a single key, and RedisError for a lost connection.
    """
    sizes: list[int | BrokerDoubt] = []
    for first in range(0, len(keys), AT_ONCE):
        some = keys[first : first + AT_ONCE]
        sizes += await _sizes(executor, some, where)
    shares = _shares([size if isinstance(size, int) else 0 for size in sizes], room, most)
    for together in _trips(shares):
        asked = [number for number in together if shares[number]]
        bytes_each = TRIP_BYTES // max(1, sum(shares[number] for number in asked))
        queries = [
            HashPart(
                keys[number],
                shares[number],
                LONGEST,
                max(LONGEST, bytes_each * shares[number]),
                is_all=sizes[number] == shares[number],
            )
            for number in asked
        ]
        read = await answers(executor, [keys[number] for number in asked], queries, where)
        fields = dict(zip(asked, read, strict=True))
        for number in together:
            yield number, _hash(keys[number], sizes[number], fields.get(number))


async def _sizes(executor: Executor, keys: Sequence[str], where: str) -> list[int | BrokerDoubt]:
    """The number of fields of each hash, or the doubt about it. Raises as `answers` does."""
    (answer,) = await executor.run([Count(tuple(keys), 1, "HLEN")])
    if isinstance(answer, Exception):
        raise answer
    return [_about(key, size, where) for key, size in zip(keys, counts_of(answer), strict=True)]


def _shares(sizes: Sequence[int], room: int, most: int) -> list[int]:
    """How much to read of each: all, as long as there is room, the small ones first; else a part."""
    shares = list(sizes)
    for number in sorted(range(len(sizes)), key=sizes.__getitem__):
        if sizes[number] > min(room, most):
            shares[number] = max(0, min(sizes[number], most if room >= most else PART, room))
        room -= shares[number]
    return shares


def _trips(shares: Sequence[int]) -> Iterator[list[int]]:
    """Places of hashes that are read together."""
    together: list[int] = []
    size = 0
    for number, share in enumerate(shares):
        if together and (size + share > MOST_ENTRIES or len(together) == AT_ONCE):
            yield together
            together, size = [], 0
        together.append(number)
        size += share
    if together:
        yield together


async def answers(executor: Executor, keys: Sequence[str], queries: Sequence[Query], where: str) -> list[Any]:
    """The answer to a question for each key, or the doubt about it. Raises what Redis says of more than a key."""
    given = await executor.run(queries)
    return [_about(key, answer, where) for key, answer in zip(keys, given, strict=True)]


def _about(key: str, answer: Any, where: str) -> Any:
    """The answer about a key, or the doubt about it. Raises what Redis says of more than the key."""
    if not isinstance(answer, Exception):
        return answer
    if is_about_a_key(answer):
        return registry_doubt(answer, key, where)
    raise answer


def _hash(key: str, size: int | BrokerDoubt, answer: Any) -> Hash | BrokerDoubt:
    """What was read. Fields may have come and gone since the size was asked for."""
    if isinstance(size, BrokerDoubt):
        return size
    if isinstance(answer, BrokerDoubt):
        return answer
    if answer is None:  # there is no room for any
        return Hash(key, {}, size)
    passed, fields = answer[0], fields_of(answer)
    return Hash(key, fields, max(size, len(fields) + passed) if passed else len(fields))
