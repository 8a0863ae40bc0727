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

from .refusals import FULL, code_of, passes

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


def connect_when_full() -> None:
    """Let kombu's channels in this process do in a full Redis what a worker does when it starts.

    They declare and delete queues, and look for messages that somebody has held for too long. Redis may refuse the last
    for other reasons, too; the next look is as good.
    """
    from kombu.transport.redis import Channel

    _do_instead(Channel, "_queue_bind", _queue_bind, is_full)
    _do_instead(Channel, "_size", _size, is_full)
    _do_instead(Channel, "_has_queue", _has_queue, is_full)
    _do_instead(Channel, "_delete", _delete, is_full)
    _do_instead(Channel.QoS, "restore_visible", _nothing, passes)
    if hasattr(Channel, "maybe_refresh_binding_expiry"):  # kombu 5.7: it logs each second that it could not
        _do_instead(Channel, "maybe_refresh_binding_expiry", _nothing, passes)


def _do_instead(
    owner: Any, name: str, instead: Callable[..., Any], where: Callable[[redis.exceptions.ResponseError], bool]
) -> None:
    """Do something else where a method is answered with such an error."""
    original = getattr(owner, name)
    if hasattr(original, "instead"):
        return

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        except redis.exceptions.ResponseError as error:
            if not where(error):
                raise
            return instead(self, *args, **kwargs)

    method.instead = instead  # type: ignore[attr-defined]
    setattr(owner, name, method)


def _nothing(*_: Any, **__: Any) -> None:
    """Kombu does it again in its own time."""


def _queue_bind(channel: Any, exchange: str, routing_key: Any, pattern: Any, queue: str) -> None:
    """A queue's row is small, and mostly there already. One for replies ends with its connection, and does without."""
    if queue in getattr(channel, "_expires", ()):
        return
    row = channel.sep.join([routing_key or "", pattern or "", queue or ""])
    names = (getattr(channel, name, None) for name in ("keyprefix_queue", "keyprefix_binding_permanent"))
    keys = [channel.global_keyprefix + name % (exchange,) for name in names if name]
    client = redis.Redis(connection_pool=channel.pool)
    client.eval(ADD, len(keys), *keys, "", row)


def _size(channel: Any, queue: str) -> int:
    with channel.conn_or_acquire() as client:
        return sum(client.llen(channel._q_for_pri(queue, step)) for step in channel.priority_steps)


def _has_queue(channel: Any, queue: str, **_: Any) -> bool:
    with channel.conn_or_acquire() as client:
        return any(client.exists(channel._q_for_pri(queue, step)) for step in channel.priority_steps)


def _delete(channel: Any, queue: str, *_: Any, client: Any = None, **__: Any) -> None:
    """The rest of a queue whose row is gone: kombu deletes that first, and not within MULTI."""
    with channel.conn_or_acquire(client) as connected:
        for step in channel.priority_steps:
            connected.delete(channel._q_for_pri(queue, step))
