"""Whether the channel asks Redis for the next message."""

from __future__ import annotations

from .channel import TaskChannel
from .drain import Drain
from .prefetch import Prefetch


def fetch_by_need(channel: TaskChannel, drain: Drain, prefetch: Prefetch | None) -> None:
    """Let the channel fetch nothing under a mark, and no more than `prefetch` has room for."""
    raw, qos = channel.raw, channel.qos
    can_consume = qos.can_consume

    def can_consume_or_drain() -> bool:
        # The reply of a BRPOP has to be read, free slots or not: what is in it is in no list any more.
        if drain.token or raw._in_poll:
            return True
        return (prefetch is None or prefetch.finds_room()) and can_consume()

    qos.can_consume = can_consume_or_drain
    drain.watch(raw)
