"""What is asked of Redis, each question in two forms: a Lua script, and plain commands for users who may run none.

With a script a reading of many pools takes a fifth of the time (tests/bench/bench_broker_read.py): there is one command
to write and one reply to parse for hundreds of lists. And message bodies, so the tasks' arguments, stay in Redis. Both
forms give the same value. All are read-only.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, Protocol, runtime_checkable

from celeriac.brokers.redis.shapes import are_answers, is_count, is_counts, is_pair, is_text
from celeriac.brokers.redis.wire import Command, Packed, packed

LONGEST_TAG: Final = 255
"""Bytes of a delivery tag; kombu's are uuids of 36."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; Redis keeps it under the SHA-1 of its text."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


class Query(ABC):
    """One question. `script` None: there is only the plain form."""

    script: Script | None

    @cached_property
    def packed(self) -> Packed:
        """What is sent, made once: the same questions are asked twice a second."""
        return packed(self.plain()[0] if self.script is None else ("EVALSHA", self.script.sha, *self.arguments()))

    @abstractmethod
    def arguments(self) -> Command:
        """What follows the script: number of keys, keys, arguments."""

    @abstractmethod
    def plain(self) -> Sequence[Command]:
        """The same as plain commands."""

    @abstractmethod
    def join(self, replies: Sequence[Any]) -> Any:
        """From the replies to the plain commands, the script's reply. A reply may be an exception."""

    @abstractmethod
    def fits(self, reply: Any) -> bool:
        """Whether a reply, which is no exception, is one to this question: another server may answer anything."""


@runtime_checkable
class Large(Protocol):
    """One whose answer may be large: its plain commands ask for sizes."""

    def then(self, replies: Sequence[Any], most: int) -> tuple[Sequence[Command], int]:
        """Further commands, by the replies to the plain ones, and how many bytes will come; `most` of them at most."""

    def join(self, replies: Sequence[Any], more: Sequence[Any] = ()) -> Any:
        """See Query.join; `more` are the replies to those."""


@dataclass(frozen=True)
class Ask(Query):
    """A single plain command."""

    command: Command
    script: None = None

    def arguments(self) -> Command:
        """There is no script."""
        return ()

    def plain(self) -> Sequence[Command]:
        """The command."""
        return [self.command]

    def join(self, replies: Sequence[Any]) -> Any:
        """Its reply."""
        return replies[0]

    def fits(self, _: Any) -> bool:
        """Known by the command already."""
        return True


COUNT: Final = Script("""
local steps, command, whole = tonumber(ARGV[1]), ARGV[2], true
local counts = {}
for first = 1, #KEYS, steps do
  local count = 0
  for i = first, first + steps - 1 do
    local length = redis.pcall(command, KEYS[i])
    if type(length) == 'table' then count, whole = length, false break end
    count = count + length
  end
  counts[#counts + 1] = count
end
return whole and table.concat(counts, ',') or counts
""")


@dataclass(frozen=True)
class Count(Query):
    """Messages per queue; each queue has `steps` list keys in a row. Or the fields of hashes, with `command` HLEN.

    Gives all counts as one text, which is the same text as long as nothing has changed; where some queue cannot be
    counted, a list with an int or an exception for each.
    """

    keys: tuple[str, ...]
    steps: int
    command: Literal["LLEN", "HLEN"] = "LLEN"
    script: Script = COUNT

    def arguments(self) -> Command:
        """Keys, the number of steps and the command."""
        return (len(self.keys), *self.keys, self.steps, self.command)

    def plain(self) -> Sequence[Command]:
        """The length of every list or hash."""
        return [(self.command, key) for key in self.keys]

    def join(self, replies: Sequence[Any]) -> bytes | list[int | Exception]:
        """Sum per queue; one bad key spoils its queue."""
        counts = [sum_of(replies[first : first + self.steps]) for first in range(0, len(replies), self.steps)]
        return counts if any(isinstance(each, Exception) for each in counts) else ",".join(map(str, counts)).encode()

    def fits(self, reply: Any) -> bool:
        """A count for each queue."""
        number = len(self.keys) // self.steps
        return is_counts(reply, number) if is_text(reply) else are_answers(reply, number, is_count)


def counts_of(reply: Any) -> list[int | Exception]:
    """The counts that a Count gave."""
    return [int(count) for count in reply.split(b",")] if is_text(reply) else reply


TAGS: Final = Script("""
local bound, sample = tonumber(ARGV[1]), tonumber(ARGV[2])
local size = redis.pcall('HLEN', KEYS[1])
if type(size) == 'table' then return size end
local tags = {}
if size > 0 and size <= bound then
  tags = redis.pcall('HKEYS', KEYS[1])
  if tags.err then return tags end
elseif size > bound and sample > 0 then
  tags = redis.pcall('HRANDFIELD', KEYS[1], sample)
  if tags.err then -- before Redis 6.2
    local found = redis.pcall('HSCAN', KEYS[1], 0, 'COUNT', sample)
    if found.err then return found end
    tags = {}
    for i = 1, #found[2], 2 do tags[#tags + 1] = found[2][i] end
  end
end
local text = table.concat(tags, '\\n')
if #text > 256 * #tags then -- none of kombu's
  local short = {}
  for _, tag in ipairs(tags) do if #tag <= 255 then short[#short + 1] = tag end end
  text = table.concat(short, '\\n')
end
return {size, text}
""")


@dataclass(frozen=True)
class Tags(Query):
    """Delivery tags in an unacked hash: all up to `bound`, above it a random `sample` (0: none).

    Gives [size of the hash, the tags as one text]: parsing one text is far cheaper than thousands of replies.
    """

    key: str
    bound: int
    sample: int
    script: Script = TAGS

    def arguments(self) -> Command:
        """Key and bounds."""
        return (1, self.key, self.bound, self.sample)

    def plain(self) -> Sequence[Command]:
        """HRANDFIELD with a positive count gives all distinct fields of a hash that has no more."""
        return [("HLEN", self.key), ("HRANDFIELD", self.key, self.bound)]

    def join(self, replies: Sequence[Any]) -> Any:
        """The first error, or the size and tags."""
        size, tags = replies
        if isinstance(size, Exception) or isinstance(tags, Exception):
            return size if isinstance(size, Exception) else tags
        return [size, b"\n".join(tags if size <= self.bound else tags[: self.sample])]

    def fits(self, reply: Any) -> bool:
        """A count and a text of no more tags than were asked for."""
        most = max(self.bound, self.sample)
        return (
            is_pair(reply, is_count, is_text) and len(reply[1]) <= most * LONGEST_TAG and reply[1].count(b"\n") < most
        )


def sum_of(lengths: Sequence[Any]) -> int | Exception:
    """The sum, or the first error."""
    total = 0
    for length in lengths:
        if isinstance(length, Exception):
            return length
        total += length
    return total
