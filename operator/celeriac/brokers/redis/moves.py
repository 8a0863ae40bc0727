"""Moving one message from where it is to where it belongs, atomically: whoever comes second finds nothing to move."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import InvalidResponse, ResponseError, WatchError

from celeriac.brokers.redis.envelopes import Envelope
from celeriac.brokers.redis.parser import NO_REDIS
from celeriac.brokers.redis.queries import Script
from celeriac.brokers.redis.round_trip import run_script
from celeriac.brokers.redis.wire import Command

BATCH: Final = 500

# For each move: tag, size of the message, its bare text, its cuts (how many numbers, then start and length of each),
# push command, number of the target key (0: none), and the new text: how many cuts there are in it, a literal, and for
# each cut its number and a literal. Answers for each: 1, 0 where it found nothing to move, or the target's error.
_EACH: Final = """
local sub = string.sub
local at = 0
local function take() at = at + 1 return ARGV[at] end
local function number() return tonumber(take()) end
local function is_same(entry, size, bare, cuts)
  if not entry or #entry ~= size then return false end
  local parts, from = {}, 1
  for i = 1, #cuts, 2 do
    parts[#parts + 1] = sub(entry, from, cuts[i])
    from = cuts[i] + cuts[i + 1] + 1
  end
  parts[#parts + 1] = sub(entry, from)
  return table.concat(parts) == bare
end
-- With three parts, which is the rule, one copy less than table.concat makes.
local function joined(parts)
  if #parts == 3 then return parts[1] .. parts[2] .. parts[3] end
  return table.concat(parts)
end
local made = {}
while at < #ARGV do
  local tag, size, bare, cuts = take(), number(), take(), {}
  for i = 1, number() do cuts[i] = number() end
  local push, target, spliced = take(), number(), number()
  local parts, entry, done = {take()}, found(tag), 0
  local same = is_same(entry, size, bare, cuts)
  for i = 1, spliced do
    local cut = number() * 2 + 1
    if same then parts[#parts + 1] = sub(entry, cuts[cut] + 1, cuts[cut] + cuts[cut + 1]) end
    parts[#parts + 1] = take()
  end
  if same then
    done = 1
    if target > 0 then
      local pushed = redis.pcall(push, KEYS[target], joined(parts))
      if type(pushed) == 'table' then done = pushed end
    end
    if done == 1 then remove(tag, entry) end
  end
  made[#made + 1] = done
end
return made
"""

# It begins with a write that changes nothing: a Redis that is full lets a script go on that has written.
_FROM_UNACKED: Final = Script(f"""
redis.call('HDEL', KEYS[1], 'celeriac')
local function found(tag) return redis.call('HGET', KEYS[1], tag) end
local function remove(tag)
  redis.call('HDEL', KEYS[1], tag)
  redis.call('ZREM', KEYS[2], tag)
end
{_EACH}""")

# The tag is the place in the list, counted from the right; what was moved before is gone from there.
_FROM_LIST: Final = Script(f"""
local moved = 0
local function found(tag)
  local place = moved - tonumber(tag) - 1
  return redis.call('LRANGE', KEYS[1], place, place)[1]
end
local function remove(_, entry)
  redis.call('LREM', KEYS[1], -1, entry)
  moved = moved + 1
end
{_EACH}""")


@dataclass(frozen=True, slots=True)
class Move:
    """One message: what it is in its source, and what is pushed to where. Without a target it is dropped.

    tag      its field of the hash, or its place in the list, counted from the right
    message  what is pushed; marks of the entry stand for its cuts
    push     RPUSH (consumed next) or LPUSH (the producers' end)
    """

    tag: bytes
    entry: Envelope
    target: str | None = None
    message: bytes = b""
    push: str = "RPUSH"


class Source(Protocol):
    """Where messages are moved from."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Its keys; the first one changes with every move."""

    @property
    def script(self) -> Script:
        """Makes many moves."""

    async def has(self, pipe: Pipeline, move: Move) -> bool:
        """Whether the message is still what was read."""

    def removal(self, move: Move) -> Sequence[Command]:
        """The commands that take it away."""


@dataclass(frozen=True, slots=True)
class Unacked:
    """An unacked hash and its index."""

    unacked: str
    index: str
    script: Script = _FROM_UNACKED

    @property
    def keys(self) -> tuple[str, ...]:
        """Both."""
        return (self.unacked, self.index)

    async def has(self, pipe: Pipeline, move: Move) -> bool:
        """Compare the entry."""
        return bool(await pipe.execute_command("HGET", self.unacked, move.tag) == move.entry.text)

    def removal(self, move: Move) -> Sequence[Command]:
        """Out of both."""
        return ("HDEL", self.unacked, move.tag), ("ZREM", self.index, move.tag)


@dataclass(frozen=True, slots=True)
class MessageList:
    """A list of messages; the oldest are at its right."""

    key: str
    script: Script = _FROM_LIST

    @property
    def keys(self) -> tuple[str, ...]:
        """The list."""
        return (self.key,)

    async def has(self, pipe: Pipeline, move: Move) -> bool:
        """Look for it from the right."""
        return await pipe.execute_command("LPOS", self.key, move.entry.text, "RANK", -1) is not None

    def removal(self, move: Move) -> Sequence[Command]:
        """Out of the list."""
        return (("LREM", self.key, -1, move.entry.text),)


async def move(redis: Redis, source: Source, moves: Sequence[Move]) -> list[bool | Exception]:
    """Make the moves in their order: whether each found its message, or what Redis answered to it.

    A user who may run no scripts moves them one at a time under WATCH. Raises RedisError where the connection failed.
    """
    if not moves:
        return []
    made = await _by_script(redis, source, moves)
    if isinstance(made, ResponseError):
        # It says nothing of a single message, and may be about scripts alone.
        return [await _alone(redis, source, each) for each in moves]
    return made


async def when(redis: Redis, watched: str, holds: Callable[[Pipeline], Awaitable[bool]], *commands: Command) -> bool:
    """Run the commands as one transaction if `holds` does, and still does at that moment; tell whether they ran."""
    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch(watched)
        if not await holds(pipe):
            return False
        _begin(pipe)
        for command in commands:
            pipe.execute_command(*command)
        try:
            await pipe.execute()
        except WatchError:
            return False
    return True


def _begin(pipe: Pipeline) -> None:
    pipe.multi()  # type: ignore[no-untyped-call]


async def _require_list(pipe: Pipeline, key: str) -> None:
    """Raise Redis's own error for a key of another type: a transaction would go on after it and lose the message."""
    if await pipe.execute_command("TYPE", key) not in (b"none", b"list"):
        raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


async def _by_script(redis: Redis, source: Source, moves: Sequence[Move]) -> list[bool | Exception] | ResponseError:
    """What the script did, or why there is none. Raises InvalidResponse for what it does not answer."""
    size = sum(each.entry.size for each in moves)
    reply = await run_script(redis, source.script, _arguments(source, moves), size)
    if isinstance(reply, ResponseError):
        return reply
    if not isinstance(reply, list) or len(reply) != len(moves):
        raise InvalidResponse(NO_REDIS)
    return [each if isinstance(each, Exception) else bool(each) for each in reply]


def _arguments(source: Source, moves: Sequence[Move]) -> Command:
    """Number of keys, keys, and the arguments for each move."""
    keys = (*source.keys, *dict.fromkeys(each.target for each in moves if each.target is not None))
    number = {key: place for place, key in enumerate(keys, 1)}
    arguments: list[str | bytes | int] = [len(keys), *keys]
    for each in moves:
        entry, target = each.entry, 0 if each.target is None else number[each.target]
        cuts = [number for cut in entry.cuts for number in cut]
        pieces = entry.pieces(each.message)
        arguments += (each.tag, entry.size, entry.bare, len(cuts), *cuts, each.push, target, len(pieces) // 2, *pieces)
    return tuple(arguments)


async def _alone(redis: Redis, source: Source, each: Move) -> bool | Exception:
    """What was left out of a message has to be moved by a script; one of the others may be what it was refused for."""
    if each.entry.cuts:
        made = await _by_script(redis, source, [each])
        return made if isinstance(made, ResponseError) else made[0]
    async with redis.pipeline(transaction=True) as pipe:
        try:
            await pipe.watch(source.keys[0])
            if not await source.has(pipe, each):
                return False
            if each.target is not None:
                await _require_list(pipe, each.target)
            _begin(pipe)
            if each.target is not None:
                pipe.execute_command(each.push, each.target, each.message)
            for command in source.removal(each):
                pipe.execute_command(*command)
            await pipe.execute()
        except WatchError:
            return False
        except ResponseError as error:
            return error
    return True
