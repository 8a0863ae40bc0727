"""What is asked of Redis, each question in two forms: a Lua script, and plain commands for users who may run none.

With a script a reading of many pools takes a fifth of the time (tests/bench/bench_broker_read.py): there is one command
to write and one reply to parse for hundreds of lists. And message bodies, so the tasks' arguments, stay in Redis. Both
forms give the same value. All are read-only.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from celeriac.brokers.redis.cutting import CUTTING, LONG
from celeriac.brokers.redis.shapes import are, are_answers, is_count, is_pair, is_text, is_text_or_none

Command = tuple[str | bytes | int, ...]

LONGEST_TAG: Final = 255
"""Bytes of a delivery tag; kombu's are uuids of 36."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; Redis keeps it under the SHA-1 of its text."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


class Query(Protocol):
    """One question. `script` None: there is only the plain form."""

    @property
    def script(self) -> Script | None:
        """The script form."""

    def arguments(self) -> Command:
        """What follows the script: number of keys, keys, arguments."""

    def plain(self) -> Sequence[Command]:
        """The same as plain commands."""

    def join(self, replies: Sequence[Any]) -> Any:
        """From the replies to the plain commands, the script's reply. A reply may be an exception."""

    def fits(self, reply: Any) -> bool:
        """Whether a reply, which is no exception, is one to this question: another server may answer anything."""


@runtime_checkable
class Large(Query, Protocol):
    """One whose answer may be large: its plain commands ask for sizes."""

    def then(self, replies: Sequence[Any], most: int) -> tuple[Sequence[Command], int]:
        """Further commands, by the replies to the plain ones, and how many bytes will come; `most` of them at most."""

    def join(self, replies: Sequence[Any], more: Sequence[Any] = ()) -> Any:
        """See Query.join; `more` are the replies to those."""


@dataclass(frozen=True, slots=True)
class Ask:
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
local steps = tonumber(ARGV[1])
local counts = {}
for first = 1, #KEYS, steps do
  local count = 0
  for i = first, first + steps - 1 do
    local length = redis.pcall('LLEN', KEYS[i])
    if type(length) == 'table' then count = length break end
    count = count + length
  end
  counts[#counts + 1] = count
end
return counts
""")


@dataclass(frozen=True, slots=True)
class Count:
    """Messages per queue; each queue has `steps` list keys in a row. Gives an int or an exception for each queue."""

    keys: tuple[str, ...]
    steps: int
    script: Script = COUNT

    def arguments(self) -> Command:
        """Keys and the number of steps."""
        return (len(self.keys), *self.keys, self.steps)

    def plain(self) -> Sequence[Command]:
        """LLEN of every list."""
        return [("LLEN", key) for key in self.keys]

    def join(self, replies: Sequence[Any]) -> list[int | Exception]:
        """Sum per queue; one bad key spoils its queue."""
        return [_sum(replies[first : first + self.steps]) for first in range(0, len(replies), self.steps)]

    def fits(self, reply: Any) -> bool:
        """A count for each queue."""
        return are_answers(reply, len(self.keys) // self.steps, is_count)


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
return {size, table.concat(tags, '\\n')}
""")


@dataclass(frozen=True, slots=True)
class Tags:
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


# A mark that nobody takes for a name: half a character. What was cut is never wanted back.
_CUT: Final = f"""{CUTTING}
local function envelope(text) return cut(text, '\\\\ud800', {LONG}, 65536) or '' end
"""

ENTRIES: Final = Script(f"""{_CUT}
local most, longest, answered, looked = 131072, 1048576, 0, 0
local entries = {{}}
for i, tag in ipairs(ARGV) do
  local entry = redis.pcall('HSTRLEN', KEYS[1], tag)
  if type(entry) == 'number' then
    -- What is too long to be copied around counts as not understood.
    if entry > longest then
      entry = ''
    else
      looked = looked + entry
      entry = redis.pcall('HGET', KEYS[1], tag)
    end
  end
  if type(entry) == 'string' then
    entry = envelope(entry)
    answered = answered + #entry
  end
  if i > 1 and (answered > most or looked > 8388608) then break end
  entries[i] = entry
end
return entries
""")


LONGEST_ENTRY: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of some delivery tags: JSON [message, exchange, routing_key], None for one that is gone.

    One of more than a MiB, or 64 KiB without what is long in it, comes as an empty text. Where all would be too much
    for one answer, those of the first tags come.
    """

    key: str
    tags: tuple[bytes, ...]
    script: Script = ENTRIES

    def arguments(self) -> Command:
        """Key and tags."""
        return (1, self.key, *self.tags)

    def plain(self) -> Sequence[Command]:
        """HSTRLEN."""
        return [("HSTRLEN", self.key, tag) for tag in self.tags]

    def then(self, replies: Sequence[Any], most: int) -> tuple[Sequence[Command], int]:
        """HGET of the first that are so many bytes together; one of more than a MiB is passed by."""
        commands: list[Command] = []
        total = 0
        for tag, size in zip(self.tags, replies, strict=True):
            if not is_count(size):
                return (), 0
            if size > LONGEST_ENTRY:
                commands.append(("HSTRLEN", self.key, tag))
                continue
            if total + size > most:
                break
            total += size
            commands.append(("HGET", self.key, tag))
        return commands, total

    def join(self, replies: Sequence[Any], more: Sequence[Any] = ()) -> Any:
        """The first error, or the entries."""
        refused = next((reply for reply in (*replies, *more) if isinstance(reply, Exception)), None)
        return refused or [b"" if isinstance(reply, int) else reply for reply in more]

    def fits(self, reply: Any) -> bool:
        """A text, or nothing, for each of the first tags."""
        return isinstance(reply, list) and are_answers(reply, min(len(reply), len(self.tags)), is_text_or_none)


# Celery writes an ETA into each message, mostly null. Where there is another field of this name, all is answered.
PEEK: Final = Script(f"""{_CUT}
local function brief(text)
  local _, fields = string.gsub(text, '"eta"%s*:', '')
  local eta = string.match(text, '"headers"%s*:.*"eta"%s*:%s*"([^"\\\\]+)"')
  if fields == 1 then return eta and '{{"headers": {{"eta": "' .. eta .. '"}}}}' end
  return fields > 1 and text
end
local members, bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local count, found = 0, {{}}
for _, key in ipairs(KEYS) do
  local length = redis.pcall('LLEN', key)
  if type(length) == 'table' then return length end
  count = count + length
end
if count > members then return {{count, found, 0}} end
for _, key in ipairs(KEYS) do
  local place = 0
  while true do
    local some = redis.pcall('LRANGE', key, place, place)
    if some.err then return some end
    local message = some[1]
    if not message then break end
    bytes = bytes - #message
    if bytes < 0 then return {{count, found, 0}} end
    found[#found + 1] = brief(envelope(message)) or nil
    place = place + 1
  end
end
return {{count, found, 1}}
""")


@dataclass(frozen=True, slots=True)
class Peek:
    """Messages with an ETA in the lists of one queue: [messages in all, what tells their ETAs, whole].

    The last is 0 where not all was looked at, else 1.

    Nothing is looked at in a queue of more than `members` messages, nor beyond `size` bytes. With plain commands
    nothing is of a queue with more than `size` bytes, nor where the user may not ask for them (MEMORY USAGE).
    """

    keys: tuple[str, ...]
    members: int
    size: int
    script: Script = PEEK

    def arguments(self) -> Command:
        """Keys and bounds."""
        return (len(self.keys), *self.keys, self.members, self.size)

    def plain(self) -> Sequence[Command]:
        """LLEN and MEMORY USAGE of each list."""
        return [c for key in self.keys for c in (("LLEN", key), ("MEMORY", "USAGE", key, "SAMPLES", 0))]

    def then(self, replies: Sequence[Any], most: int) -> tuple[Sequence[Command], int]:
        """LRANGE of each list, where all of them are small."""
        count, sizes = _sum(replies[::2]), [size or 0 for size in replies[1::2]]
        if isinstance(count, Exception) or count > self.members or not all(map(is_count, sizes)):
            return (), 0
        if (total := sum(sizes)) > min(self.size, most):
            return (), 0
        return [("LRANGE", key, 0, self.members - 1) for key in self.keys], total

    def join(self, replies: Sequence[Any], more: Sequence[Any] = ()) -> Any:
        """The first error, or the count and the messages."""
        count = _sum(replies[::2])
        refused = next((reply for reply in more if isinstance(reply, Exception)), None)
        if isinstance(count, Exception) or refused is not None:
            return count if isinstance(count, Exception) else refused
        with_eta = [message for reply in more for message in reply if b'"eta"' in message]
        return [count, with_eta[: self.members], int(bool(more))]

    def fits(self, reply: Any) -> bool:
        """A count, some messages, and whether they are all."""
        is_one = isinstance(reply, list) and len(reply) == 3 and is_count(reply[2])
        return is_one and is_pair(reply[:2], is_count, are(is_text)) and len(reply[1]) <= self.members


def _sum(lengths: Sequence[Any]) -> int | Exception:
    total = 0
    for length in lengths:
        if isinstance(length, Exception):
            return length
        total += length
    return total
