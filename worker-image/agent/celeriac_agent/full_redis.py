"""Writes to a Redis that is full (maxmemory reached, noeviction), where they take no more room than they have freed.

Redis refuses each command that could take memory, and within MULTI every command: an acknowledgement of kombu's, too.
It lets a script go on that has written before, so that none ends half-way; these scripts begin with a write that
changes nothing. A worker that could not write down what it takes off a full queue would be the last to make room.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis

from .refusals import FULL, code_of

NO_FIELD = "celeriac"  # no message has it as its tag, no process as its name

# KEYS: unacked, index; ARGV: a field that is not there, tag, entry, score.
KEEP = """
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
"""
# KEYS: hash; ARGV: a field that is not there, field, value.
SET = """
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
"""
# KEYS: sets; ARGV: what is not in them, member.
ADD = """
for _, key in ipairs(KEYS) do
  redis.call('SREM', key, ARGV[1])
  redis.call('SADD', key, ARGV[2])
end
"""


def is_full(error: BaseException) -> bool:
    """Whether Redis has refused a write because it is full."""
    return isinstance(error, redis.exceptions.ResponseError) and code_of(error) == FULL


def keep(client: Any, unacked: str, index: str, tag: str, entry: str) -> None:
    """Write down a message that is off its list, as kombu does; twice is as good as once. Raises redis-py's errors."""
    now = time.time()
    try:
        with client.pipeline() as pipe:
            pipe.zadd(index, {tag: now})
            pipe.hset(unacked, tag, entry)
            pipe.execute()
    except redis.exceptions.ResponseError as error:
        if not is_full(error):
            raise
        keep_when_full(client, unacked, index, tag, entry)


def keep_when_full(client: Any, unacked: str, index: str, tag: str, entry: str) -> None:
    """As `keep`, once Redis has said that it is full."""
    client.eval(KEEP, 2, unacked, index, NO_FIELD, tag, entry, time.time())


def set_field(client: Any, key: str, field: str, value: str) -> None:
    """Set a field of a hash that has it already, or is small. Raises redis-py's errors."""
    try:
        client.hset(key, field, value)
    except redis.exceptions.ResponseError as error:
        if not is_full(error):
            raise
        client.eval(SET, 1, key, NO_FIELD, field, value)


def bind_when_full() -> None:
    """Let kombu's channels in this process declare their queues in a full Redis, as a worker does when it starts.

    A queue's row is small, and mostly there already. One that ends with its connection, for replies, does without.
    """
    from kombu.transport.redis import Channel

    bind: Callable[..., Any] = Channel._queue_bind
    if getattr(bind, "when_full", False):
        return

    def _queue_bind(channel: Any, exchange: str, routing_key: Any, pattern: Any, queue: str) -> None:
        try:
            bind(channel, exchange, routing_key, pattern, queue)
        except redis.exceptions.ResponseError as error:
            if not is_full(error):
                raise
            if queue not in getattr(channel, "_expires", ()):
                _add_row(channel, exchange, channel.sep.join([routing_key or "", pattern or "", queue or ""]))

    _queue_bind.when_full = True  # type: ignore[attr-defined]
    setattr(Channel, "_queue_bind", _queue_bind)  # noqa: B010  # mypy takes an assignment for a mistake


def _add_row(channel: Any, exchange: str, row: str) -> None:
    names = (getattr(channel, name, None) for name in ("keyprefix_queue", "keyprefix_binding_permanent"))
    keys = [channel.global_keyprefix + name % (exchange,) for name in names if name]
    client = redis.Redis(connection_pool=channel.pool)
    client.eval(ADD, len(keys), *keys, "", row)
