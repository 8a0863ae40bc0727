"""Questions about hashes and sets that anybody may write to: what is longer than ours stays in Redis. See queries.py.

One registration of 20 MiB, one report or one mark would else be the answer about all pools that are read with it. With
plain commands nobody can say how long a value is before it comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from celeriac.brokers.redis.queries import Query, Script
from celeriac.brokers.redis.shapes import are, are_answers, is_count, is_pair, is_text, is_text_or_none
from celeriac.brokers.redis.wire import Command

# Gives how many members were passed by, one more where others were not looked at, and the members; those of a hash as
# name and value. It looks at four times as much as it may answer: a hash that somebody fills with long values is not
# read on.
_PART: Final = """
local most, longest, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found, passed, seen, cursor = {}, 0, 4 * bytes + 65536, '0'
local function take(name, value)
  local size = #name + #(value or '')
  seen = seen - size
  if size > longest or size > bytes or most == 0 then passed = passed + 1 return end
  most, bytes = most - 1, bytes - size
  found[#found + 1] = name
  found[#found + 1] = value
end
"""

HASH_PART: Final = Script(f"""{_PART}
repeat
  local page = redis.pcall('HSCAN', KEYS[1], cursor, 'COUNT', 1000)
  if page.err then return page end
  cursor = page[1]
  for i = 1, #page[2], 2 do take(page[2][i], page[2][i + 1]) end
until cursor == '0' or most == 0 or seen < 0
if cursor ~= '0' then passed = passed + 1 end
return {{passed, found}}
""")

SET_PART: Final = Script(f"""{_PART}
local members = redis.pcall('SMEMBERS', KEYS[1])
if members.err then return members end
for _, member in ipairs(members) do take(member) end
return {{passed, found}}
""")


@dataclass(frozen=True)
class _Part(Query):
    """What is read of one key, at most."""

    key: str
    most: int
    longest: int
    bytes: int

    def arguments(self) -> Command:
        """Key and bounds."""
        return (1, self.key, self.most, self.longest, self.bytes)


@dataclass(frozen=True)
class HashPart(_Part):
    """Fields of a hash: `most` of them, none longer than `longest` bytes with its name, and `bytes` in all.

    Gives [0 where these are all, else how many were passed by so far as it looked; [name, value, name...]]. `is_all`:
    it has no more of them, as far as anybody knows, so that a user who may run no scripts asks for all.
    """

    is_all: bool = False
    script: Script = HASH_PART

    def plain(self) -> Sequence[Command]:
        """All of it, or one page."""
        return [("HGETALL", self.key) if self.is_all else ("HSCAN", self.key, 0, "COUNT", self.most)]

    def join(self, replies: Sequence[Any]) -> Any:
        """The error, or what was read."""
        (reply,) = replies
        if isinstance(reply, Exception):
            return reply
        cursor, fields = reply if isinstance(reply, tuple) else (0, reply)
        return [int(cursor != 0), [text for field in fields.items() for text in field]]

    def fits(self, reply: Any) -> bool:
        """Names, each with a value."""
        return is_pair(reply, is_count, are(is_text)) and len(reply[1]) % 2 == 0


def fields_of(reply: Any) -> dict[bytes, bytes]:
    """The fields that a HashPart gave."""
    return dict(zip(reply[1][::2], reply[1][1::2], strict=True))


@dataclass(frozen=True)
class SetPart(_Part):
    """Members of a set, within the same bounds: [how many were passed by, members]."""

    script: Script = SET_PART

    def plain(self) -> Sequence[Command]:
        """All of it."""
        return [("SMEMBERS", self.key)]

    def join(self, replies: Sequence[Any]) -> Any:
        """The error, or what was read."""
        (reply,) = replies
        return reply if isinstance(reply, Exception) else [max(0, len(reply) - self.most), list(reply)[: self.most]]

    def fits(self, reply: Any) -> bool:
        """A count and texts."""
        return is_pair(reply, is_count, are(is_text))


VALUES: Final = Script("""
local longest, bytes, values = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for first = 3, #ARGV, 1000 do
  local some = redis.pcall('HMGET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
  if some.err then return some end
  for _, value in ipairs(some) do
    local size = value and #value or 0
    if size > longest or size > bytes then value, size = '', 0 end
    bytes = bytes - size
    values[#values + 1] = value
  end
end
return values
""")


@dataclass(frozen=True)
class Values(Query):
    """Values of some fields of a hash: None for one that is not there, empty where it, or all of them, are too long."""

    key: str
    names: tuple[str, ...]
    longest: int
    bytes: int
    script: Script = VALUES

    def arguments(self) -> Command:
        """Key, bounds and names."""
        return (1, self.key, self.longest, self.bytes, *self.names)

    def plain(self) -> Sequence[Command]:
        """HMGET, which wants a name."""
        return [("HMGET", self.key, *(self.names or ("-",)))]

    def join(self, replies: Sequence[Any]) -> Any:
        """The error, or the values."""
        (reply,) = replies
        return reply if isinstance(reply, Exception) else reply[: len(self.names)]

    def fits(self, reply: Any) -> bool:
        """A text, or nothing, for each name."""
        return are_answers(reply, len(self.names), is_text_or_none)
