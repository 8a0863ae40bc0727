"""Questions about messages, whose answers may be large: what workers hold, and ETA tasks at rest. See queries.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from celeriac.brokers.redis.cutting import CUTTING, LONG
from celeriac.brokers.redis.queries import Query, Script, sum_of
from celeriac.brokers.redis.shapes import are, are_answers, is_count, is_pair, is_text, is_text_or_none
from celeriac.brokers.redis.wire import Command

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


@dataclass(frozen=True)
class Entries(Query):
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


@dataclass(frozen=True)
class Peek(Query):
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
        count, sizes = sum_of(replies[::2]), [size or 0 for size in replies[1::2]]
        if isinstance(count, Exception) or count > self.members or not all(map(is_count, sizes)):
            return (), 0
        if (total := sum(sizes)) > min(self.size, most):
            return (), 0
        return [("LRANGE", key, 0, self.members - 1) for key in self.keys], total

    def join(self, replies: Sequence[Any], more: Sequence[Any] = ()) -> Any:
        """The first error, or the count and the messages."""
        count = sum_of(replies[::2])
        refused = next((reply for reply in more if isinstance(reply, Exception)), None)
        if isinstance(count, Exception) or refused is not None:
            return count if isinstance(count, Exception) else refused
        with_eta = [message for reply in more for message in reply if b'"eta"' in message]
        return [count, with_eta[: self.members], int(bool(more))]

    def fits(self, reply: Any) -> bool:
        """A count, some messages, and whether they are all."""
        is_one = isinstance(reply, list) and len(reply) == 3 and is_count(reply[2])
        return is_one and is_pair(reply[:2], is_count, are(is_text)) and len(reply[1]) <= self.members
