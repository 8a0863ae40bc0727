"""Reads hashes of agents as far as there is room: anybody may fill them."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.errors import is_about_a_key, registry_doubt
from celeriac.brokers.redis.queries import Command
from celeriac.brokers.redis.round_trip import replies

MOST_ENTRIES: Final = 10_000
"""Fields of one hash that are read, and of all hashes in one round trip."""
PART: Final = 100
"""What is read of a hash for which there is no room: enough that what is gone goes, part by part."""
AT_ONCE: Final = 200
"""Hashes that are read in one round trip, where they have no more fields than one may have."""


@dataclass(frozen=True, slots=True)
class Hash:
    """Fields of a hash. `size` is how many it has: more than were read, where there was no room for all."""

    key: str
    fields: Mapping[bytes, bytes]
    size: int


async def hashes(
    redis: Redis, keys: Sequence[str], where: str, room: int, most: int
) -> AsyncIterator[tuple[int, Hash | BrokerDoubt]]:
    """Read hashes, the small ones first, each with its place among the keys; what was read before may be let go.

    Raises what Redis answers if it is not about a single key, and RedisError for a lost connection.
    """
    sizes: list[int | BrokerDoubt] = []
    for first in range(0, len(keys), AT_ONCE):
        some = keys[first : first + AT_ONCE]
        sizes += await answers(redis, some, [("HLEN", key) for key in some], where)
    shares = _shares([size if isinstance(size, int) else 0 for size in sizes], room, most)
    for together in _trips(shares):
        asked = [number for number in together if shares[number]]
        commands = [_reading(keys[number], sizes[number], shares[number]) for number in asked]
        read = await answers(redis, [keys[number] for number in asked], commands, where)
        fields = dict(zip(asked, read, strict=True))
        for number in together:
            yield number, _hash(keys[number], sizes[number], fields.get(number, {}))


def _reading(key: str, size: int | BrokerDoubt, share: int) -> Command:
    return ("HGETALL", key) if size == share else ("HSCAN", key, 0, "COUNT", share)


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


async def answers(redis: Redis, keys: Sequence[str], commands: Sequence[Command], where: str) -> list[Any]:
    """The answer to a command for each key, or the doubt about it. Raises what Redis says of more than a key."""
    given = await replies(redis, commands)
    for answer in given:
        if isinstance(answer, Exception) and not is_about_a_key(answer):
            raise answer
    return [
        registry_doubt(answer, key, where) if isinstance(answer, Exception) else answer
        for key, answer in zip(keys, given, strict=True)
    ]


def _hash(key: str, size: int | BrokerDoubt, fields: Any) -> Hash | BrokerDoubt:
    if isinstance(size, BrokerDoubt):
        return size
    if isinstance(fields, BrokerDoubt):
        return fields
    if isinstance(fields, tuple):  # a page, with the place of the next
        cursor, fields = fields
        size = max(size, len(fields) + 1) if cursor else len(fields)
    elif fields:
        size = len(fields)
    return Hash(key, fields, size)
