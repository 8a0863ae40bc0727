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


def remove(client: Any, unacked: str, index: str, tag: str) -> None:
    """Acknowledge; without MULTI, in which a full Redis refuses every command. Raises redis-py's errors."""
    with client.pipeline(transaction=False) as pipe:
        pipe.zrem(index, tag)
        pipe.hdel(unacked, tag)
        pipe.execute()


def set_field(client: Any, key: str, field: str, value: str) -> None:
    """Set a field of a hash that has it already, or is small. Raises redis-py's errors."""
    try:
        client.hset(key, field, value)
    except redis.exceptions.ResponseError as error:
        if not is_full(error):
            raise
        client.eval(SET, 1, key, NO_FIELD, field, value)


def connect_when_full(connection: Any) -> None:
    """Let the channels of a connection do in a full Redis what a worker does when it starts.

    They declare and delete queues, and look for messages that somebody has held for too long. Redis may refuse the last
    for other reasons, too; the next look is as good. Called before the connection is made: its first channel declares.
    """
    create = connection.create_transport

    def create_transport() -> Any:
        transport = create()
        transport.Channel = _for_a_full_redis(transport.Channel)
        return transport

    connection.create_transport = create_transport


def _for_a_full_redis(channel: type[Any]) -> type[Any]:
    """The class of a connection's own channels, which do something else where Redis refuses."""
    qos = type(channel.QoS.__name__, (channel.QoS,), {"restore_visible": _unless_refused(channel.QoS.restore_visible)})
    methods: dict[str, Any] = {name: _instead(getattr(channel, name), do) for name, do in _WHEN_FULL.items()}
    refresh = getattr(channel, "maybe_refresh_binding_expiry", None)
    if refresh is not None:  # kombu 5.7: it logs each second that it could not
        methods["maybe_refresh_binding_expiry"] = _unless_refused(refresh)
    return type(channel.__name__, (channel,), {"QoS": qos, **methods})


def _instead(original: Callable[..., Any], do: Callable[..., Any]) -> Callable[..., Any]:
    """Do something else where a full Redis refuses."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        except redis.exceptions.ResponseError as error:
            if not is_full(error):
                raise
            return do(self, *args, **kwargs)

    return method


def _unless_refused(original: Callable[..., Any]) -> Callable[..., Any]:
    """Do nothing where Redis refuses for a reason that passes: kombu does it again in its own time."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        except redis.exceptions.ResponseError as error:
            if not passes(error):
                raise
            return None

    return method


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


_WHEN_FULL: dict[str, Callable[..., Any]] = {
    "_queue_bind": _queue_bind,
    "_size": _size,
    "_has_queue": _has_queue,
    "_delete": _delete,
}
