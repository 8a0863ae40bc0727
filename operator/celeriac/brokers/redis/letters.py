"""One message that its worker no longer holds: where it belongs, and what is written into it before it goes there.

Pure. The body is a base64 string inside the JSON envelope: it is never decoded and comes out as it went in.
"""

import json
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celeriac.api.words import is_whole
from celeriac.brokers.redis.bindings import Binding, queues_bound

QUEUE_STAMP: Final = "celeriac_queue"
DEATHS: Final = "celeriac_deaths"
DEAD_REASON: Final = "celeriac_dead"
BROADCAST: Final = ""
"""Stamp of a broadcast: it was for one worker only, which is gone."""

HIGHEST_PRIORITY: Final = 9
NO_ROUTE: Final = "its queue is unknown: no stamp, and its exchange has not exactly one queue"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as kombu wrote it, its route, and the stamp of the queue it came from (None: unstamped)."""

    message: dict[str, Any]
    exchange: str
    routing_key: str
    stamp: str | None

    @property
    def deaths(self) -> int:
        """In how many processes that died it was running."""
        deaths = _delivery_info(self.message).get(DEATHS)
        return deaths if type(deaths) is int and deaths > 0 else 0

    @property
    def needs_bindings(self) -> bool:
        """Whether its queue can only be known from its exchange."""
        return self.stamp is None and self.exchange != ""

    def queue(self, tables: Mapping[str, Sequence[Binding]]) -> str | None:
        """Its queue, BROADCAST, or None where nobody can say; `tables` are the bindings by exchange.

        A message of a topic exchange stands in each bound queue by itself: putting one back into all would double it.
        """
        if self.stamp is not None:
            return self.stamp
        if not self.exchange:
            return self.routing_key or None
        bound = queues_bound(tables.get(self.exchange, ()), self.routing_key)
        return next(iter(bound)) if len(bound) == 1 else None


def letter_of(entry: bytes) -> Letter | None:
    """Read an entry of an unacked hash: JSON [message, exchange, routing_key]. None where it is not one of kombu's.

    A route that cannot be written, since JSON may hold half a character, names no key of Redis.
    """
    try:
        message, exchange, routing_key = json.loads(entry)
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(message, dict) or not isinstance(message.get("properties"), dict):
        return None
    stamp = _delivery_info(message).get(QUEUE_STAMP)
    stamp = stamp if isinstance(stamp, str) else None
    exchange, routing_key = str(exchange or ""), str(routing_key or "")
    if not all(map(is_whole, (exchange, routing_key, stamp or ""))):
        return None
    return Letter(message, exchange, routing_key, stamp)


def message_of(text: bytes) -> dict[str, Any] | None:
    """Read a message as it stands in a list. None where it is not one of kombu's."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and isinstance(message.get("properties"), dict) else None


def step_of(message: Mapping[str, Any], steps: Sequence[int]) -> int:
    """The priority step whose list it belongs to (kombu's Channel.priority and _get_message_priority)."""
    try:
        priority = max(min(int(message["properties"]["priority"]), HIGHEST_PRIORITY), 0)
    except (KeyError, TypeError, ValueError, OverflowError):
        priority = 0
    return steps[bisect(steps, priority) - 1] if steps else 0


def redelivered(letter: Letter, deaths: int, dead_reason: str | None = None) -> bytes:
    """The message as it goes back, marked as kombu marks it; with `dead_reason` as a dead letter."""
    info = {**_delivery_info(letter.message), "redelivered": True}
    if deaths:
        info[DEATHS] = deaths
    if dead_reason is not None:
        info[DEAD_REASON] = dead_reason
    return _text(letter.message, info, redelivered=True)


def revived(message: Mapping[str, Any]) -> bytes:
    """A dead letter as it goes back into its queue: its deaths and the reason are forgotten."""
    forgotten = (DEATHS, DEAD_REASON)
    info = {name: value for name, value in _delivery_info(message).items() if name not in forgotten}
    return _text(message, info)


def dead_reason_of(message: Mapping[str, Any]) -> str:
    """Why it is a dead letter, as it was written into it."""
    reason = _delivery_info(message).get(DEAD_REASON)
    return reason if isinstance(reason, str) else "no reason given"


def _delivery_info(message: Mapping[str, Any]) -> dict[str, Any]:
    info = message["properties"].get("delivery_info")
    return info if isinstance(info, dict) else {}


def _text(message: Mapping[str, Any], info: dict[str, Any], **headers: Any) -> bytes:
    """The message with this delivery_info, and these headers added where it has any."""
    changed = {**message, "properties": {**message["properties"], "delivery_info": info}}
    if isinstance(message.get("headers"), dict):
        changed["headers"] = {**message["headers"], **headers}
    return json.dumps(changed).encode()
