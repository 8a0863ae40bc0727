"""Messages without their bodies: what the operator reads of a message that it moves, and how the rest is spliced in.

A body may have 60 MiB, and reading it costs a multiple of that. So a script leaves out of the JSON what is long: each
string of more than LONG bytes, and whatever stands under "body". In its place stands a mark. Where the message goes, a
script copies what was left out from the old text into the new one (moves.py): it never leaves Redis.

For users who may run no script messages are read whole, up to PLAIN_BYTES.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse, ResponseError

from celeriac.api.reasons import Reason
from celeriac.api.words import quoted
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.cutting import CUTTING, LONG
from celeriac.brokers.redis.errors import doubt_of
from celeriac.brokers.redis.executor import is_refused
from celeriac.brokers.redis.parser import NO_REDIS
from celeriac.brokers.redis.queries import Script
from celeriac.brokers.redis.round_trip import ask_one, run_script

LONGEST: Final = 256 * 1024
"""Bytes of an envelope that is read at all, an ordinary one has 1 KiB. A longer one is moved as it is, unread."""
ANSWER_BYTES: Final = 192 * 1024
"""Of envelopes in one answer, 400 for the numbers of each included, unless a single one is longer."""
LOOK_BYTES: Final = 8 * 1024 * 1024
"""Of messages that one script looks at or moves, unless a single one is larger: Redis serves nobody meanwhile."""
LARGEST: Final = 512 * 1024 * 1024
"""Bytes of a value that Redis takes (proto-max-bulk-len)."""
PLAIN_BYTES: Final = 4 * 1024 * 1024
"""Of messages that are read whole in one answer, and of one that is read whole at all."""

_DESCRIBING: Final = f"""{CUTTING}
local function described(text)
  local mark = ARGV[1]
  local envelope, cuts = cut(text, mark, tonumber(ARGV[2]), tonumber(ARGV[3]))
  if not envelope then return {{#text, mark .. '0.', 0, #text}} end
  local found = {{#text, envelope}}
  for i = 1, #cuts do found[i + 2] = cuts[i] end
  return found
end
"""

# ARGV: mark, LONG, LONGEST, ANSWER_BYTES, tags. Describes the first of the entries, one at least.
_IN_HASH: Final = Script(f"""{_DESCRIBING}
local found, size = {{}}, 0
for i = 5, #ARGV do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  local each = entry and described(entry) or {{-1, ''}}
  size = size + #each[2] + 400
  if #found > 0 and size > tonumber(ARGV[4]) then break end
  found[#found + 1] = each
end
return found
""")

# ARGV: mark, LONG, LONGEST, ANSWER_BYTES, LOOK_BYTES, first, number; members are counted from the right.
_IN_LIST: Final = Script(f"""{_DESCRIBING}
local found, size, looked = {{}}, 0, 0
for i = tonumber(ARGV[6]) + 1, tonumber(ARGV[6]) + tonumber(ARGV[7]) do
  local text = redis.call('LRANGE', KEYS[1], -i, -i)[1]
  if not text then break end
  looked = looked + #text
  if #found > 0 and looked > tonumber(ARGV[5]) then break end
  local each = described(text)
  size = size + #each[2] + 400
  if #found > 0 and size > tonumber(ARGV[4]) then break end
  found[#found + 1] = each
end
return found
""")


class Cut(NamedTuple):
    """What was left out of a text: where it begins there, counted from 0, and its length in bytes."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message as it was read: `text` is its JSON with a mark in place of each cut, of `size` bytes without cuts."""

    size: int
    text: bytes
    mark: bytes = b""
    cuts: tuple[Cut, ...] = ()

    @classmethod
    def whole(cls, text: bytes) -> "Envelope":
        """One that was read whole."""
        return cls(len(text), text)

    @property
    def read(self) -> int:
        """Bytes that were read."""
        return len(self.text)

    @property
    def bare(self) -> bytes:
        """The text without marks: by this, its size and its cuts the message is known again."""
        return b"".join(self.pieces(self.text)[::2])

    def pieces(self, message: bytes) -> list[bytes]:
        """Cut a text in which marks of this envelope stand: a literal, the number of a cut, a literal, and so on."""
        return re.split(re.escape(self.mark) + rb"(\d+)\.", message) if self.cuts else [message]


@dataclass(frozen=True, slots=True)
class Unread:
    """A message that is too large to be read whole, and why it has to be."""

    size: int
    why: ResponseError
    read: int = 0

    def doubt(self, key: str, where: str) -> BrokerDoubt:
        """What a person can do about it."""
        if not is_refused(self.why):
            return doubt_of(self.why, where)
        return BrokerDoubt(
            Reason.MESSAGE_TOO_LARGE,
            f"a message of {self.size} bytes in key {quoted(key)} in {where} is too large to be moved through the"
            " operator, and this user may run no script that moves it inside Redis: grant the ACL user +eval +evalsha"
            " (`celeriac acl` prints the whole rule)",
        )


async def in_hash(
    redis: Redis, key: str, tags: Sequence[bytes], sizes: Sequence[int]
) -> list[Envelope | Unread | None]:
    """The first of the entries of a hash, one at least; None for one that is gone. `sizes` are theirs, in bytes.

    Raises RedisError.
    """
    mark, answer = await _described(redis, _IN_HASH, key, sum(sizes), *tags)
    if not isinstance(answer, ResponseError):
        return [_envelope(each, mark) for each in _some(answer, len(tags))]
    if sizes[0] > PLAIN_BYTES:
        return [Unread(sizes[0], answer)]
    some = tags[: how_many(sizes, PLAIN_BYTES)]
    found = await ask_one(redis, "HMGET", key, *some)
    return [None if text is None else Envelope.whole(text) for text in found]


async def in_list(redis: Redis, key: str, first: int, number: int) -> list[Envelope]:
    """The members of a list, counted from its right, where the oldest are: the first of so many, one at least if any.

    Raises RedisError.
    """
    mark, answer = await _described(redis, _IN_LIST, key, LARGEST, LOOK_BYTES, first, number)
    if isinstance(answer, ResponseError):
        # Nothing but the list itself tells how large a member is: one at a time.
        texts: list[bytes] = await ask_one(redis, "LRANGE", key, -first - 1, -first - 1)
        return [Envelope.whole(text) for text in texts]
    found = [_envelope(each, mark) for each in _some(answer, number)]
    return [each for each in found if each is not None]


def how_many(sizes: Sequence[int], most: int) -> int:
    """How many of the first have so many bytes together at most; one at least."""
    total = 0
    for number, size in enumerate(sizes):
        total += size
        if number and total > most:
            return number
    return len(sizes)


async def _described(redis: Redis, script: Script, key: str, size: int, *arguments: bytes | int) -> tuple[bytes, Any]:
    """The mark, which no message has in it, and the answer of a script that looks at so many bytes.

    JSON reads it as half a character, so that nobody takes it for a name: see is_whole.
    """
    mark = f"\\ud800{secrets.token_hex(12)}"
    command = (1, key, mark, LONG, LONGEST, ANSWER_BYTES, *arguments)
    return mark.encode(), await run_script(redis, script, command, size)


def _some(answer: Any, most: int) -> list[Any]:
    if not isinstance(answer, list) or len(answer) > most:
        raise InvalidResponse(NO_REDIS)
    return answer


def _envelope(answer: Any, mark: bytes) -> Envelope | None:
    """Raises InvalidResponse for what this script does not answer."""
    try:
        size, text, *numbers = answer
        if size < 0:
            return None
        cuts = tuple(map(Cut, numbers[::2], numbers[1::2]))
        envelope = Envelope(size, bytes(text), mark, cuts)
        named = envelope.pieces(envelope.text)[1::2]
    except (TypeError, ValueError) as error:
        raise InvalidResponse(NO_REDIS) from error
    if [int(each) for each in named] != list(range(len(cuts))):
        raise InvalidResponse(NO_REDIS)
    return envelope
