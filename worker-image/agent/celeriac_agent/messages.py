"""Where a message goes that its worker no longer holds: pure functions on the JSON that kombu keeps."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from kombu.utils.json import dumps  # kombu hands over decoded messages: dates, UUIDs and decimals in their headers

from .settings import ProcessKeys

STARTED_SCORE = 1e12  # added to a message's score in the index of unacked messages once it was started
QUEUE_STAMP, DEATHS_STAMP, DEAD_STAMP = "celeriac_queue", "celeriac_deaths", "celeriac_dead"
UNROUTABLE = "unroutable"


class Place(NamedTuple):
    """Where a message goes: a list (without prefix) and its end; no list means that it is dropped."""

    key: str | None
    payload: str = ""
    leftmost: bool = False
    dead: bool = False


def delivery_info(message: dict[str, Any]) -> dict[str, Any]:
    """The message's own delivery info, made if it is not there."""
    info = message.setdefault("properties", {}).setdefault("delivery_info", {})
    return info if isinstance(info, dict) else {}


def list_of(queue: str, message: Mapping[str, Any], separator: str, steps: Collection[int]) -> str:
    """Name the list of the message's priority, as kombu does: rounded down to a step, step 0 without a suffix."""
    try:
        priority = max(min(int(message["properties"]["priority"]), 9), 0)
    except (TypeError, ValueError, KeyError):
        priority = 0
    ordered = sorted(steps)
    step = ordered[max(bisect(ordered, priority) - 1, 0)]
    return f"{queue}{separator}{step}" if step else queue


def source_queue(
    message: dict[str, Any], exchange: str, routing_key: str, bound: Callable[[str], Collection[str]]
) -> str | None:
    """The queue a message came from, "" for a broadcast, None if nobody can tell.

    The stamp says it. A message without one belongs to the queue named by its routing key, or to the one queue that is
    bound to its exchange; several are a matter of routing, which would lose or double it.
    """
    stamp = delivery_info(message).get(QUEUE_STAMP)
    if isinstance(stamp, str):
        return stamp
    if not exchange:
        return routing_key or None
    queues = set(bound(exchange))
    return queues.pop() if len(queues) == 1 else None


def mark_redelivered(message: dict[str, Any]) -> None:
    """Say that the message was delivered before, in the two places that kombu uses."""
    headers = message.get("headers")
    if not isinstance(headers, dict):
        headers = message["headers"] = {}
    headers["redelivered"] = True
    delivery_info(message)["redelivered"] = True


def place(message: dict[str, Any], queue: str | None, keys: ProcessKeys, *, died: bool, max_attempts: int) -> Place:
    """Decide where a message goes; with `died`, the process in which it was started died, which is counted in it."""
    info = delivery_info(message)
    if queue == "":
        return Place(None)
    deaths = int(info.get(DEATHS_STAMP) or 0)
    if died:
        deaths += 1
        info[DEATHS_STAMP] = deaths
    if queue is None:
        info[DEAD_STAMP] = "its queue is unknown: no stamp, and its exchange has not exactly one queue"
        return Place(dead_list(UNROUTABLE), dumps(message), leftmost=True, dead=True)
    if died and deaths >= max_attempts:
        info[DEAD_STAMP] = f"it was started in {deaths} processes that died"
        return Place(dead_list(queue), dumps(message), leftmost=True, dead=True)
    return Place(list_of(queue, message, keys.separator, keys.steps), dumps(message))


def dead_list(queue: str) -> str:
    """The list of a queue's dead letters."""
    return f"celeriac:dead:{queue}"


def newest_first(scores: Mapping[str, float], tags: Iterable[str]) -> list[str]:
    """Order tags so that pushing them one by one to the consumed end leaves the oldest next in line."""
    return sorted(tags, key=lambda tag: scores.get(tag, 0.0) % STARTED_SCORE, reverse=True)
