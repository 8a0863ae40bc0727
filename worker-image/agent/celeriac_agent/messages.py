"""Where a message goes that its worker no longer holds: pure functions on the JSON that kombu keeps.

The operator decides the same for workers that are gone (celeriac/brokers/redis): one set of cases holds both to it.
"""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kombu.utils.json import dumps  # kombu hands over decoded messages: dates, UUIDs and decimals in their headers

from .bindings import Binding, takes
from .settings import ProcessKeys

STARTED_SCORE = 1e12  # added to a message's score in the index of unacked messages once it was started
QUEUE_STAMP, DEATHS_STAMP, DEAD_STAMP = "celeriac_queue", "celeriac_deaths", "celeriac_dead"
UNROUTABLE = "unroutable"
HIGHEST_PRIORITY = 9


class Letter(NamedTuple):
    """An entry of an unacked hash: a message as kombu wrote it, and its route."""

    message: dict[str, Any]
    exchange: str
    routing_key: str


class Place(NamedTuple):
    """Where a message goes: a list (without prefix) and its end; no list means that it is dropped."""

    key: str | None
    payload: str | bytes = ""
    dead: bool = False  # it goes to the end that is consumed last
    step: int = 0  # of its priority; 0 is consumed first


def letter_of(entry: str | bytes) -> Letter | None:
    """Read an entry of an unacked hash; None where it is not one of kombu's."""
    try:
        message, exchange, routing_key = json.loads(entry)
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(message, dict) or not isinstance(message.get("properties"), dict):
        return None
    return Letter(message, str(exchange or ""), str(routing_key or ""))


def delivery_info(message: dict[str, Any]) -> dict[str, Any]:
    """The message's own delivery info, made if it is not there."""
    properties: dict[str, Any] = message["properties"]
    info = properties.get("delivery_info")
    if not isinstance(info, dict):
        info = properties["delivery_info"] = {}
    return info


def source_queue(letter: Letter, bound: Callable[[str], Iterable[Binding]]) -> str | None:
    """The queue a message came from, "" for a broadcast, None if nobody can tell.

    The stamp says it. A message without one went to the queue named by its routing key, or through its exchange to the
    queues that are bound to it with this key. Each of several holds a copy: putting one back into all would double it.
    """
    stamp = delivery_info(letter.message).get(QUEUE_STAMP)
    if isinstance(stamp, str):
        return stamp
    if not letter.exchange:
        return letter.routing_key or None
    queues = {each.queue for each in bound(letter.exchange) if takes(each, letter.routing_key)}
    return queues.pop() if len(queues) == 1 else None


def step_of(message: Mapping[str, Any], steps: Sequence[int]) -> int:
    """The step of the message's priority, as kombu takes it (Channel.priority and _get_message_priority).

    The order is the application's own: kombu polls the lists that this names, sorted or not.
    """
    try:
        priority = max(min(int(message["properties"]["priority"]), HIGHEST_PRIORITY), 0)
    except (KeyError, TypeError, ValueError, OverflowError):
        priority = 0
    return steps[bisect(steps, priority) - 1] if steps else 0


def mark_redelivered(message: dict[str, Any]) -> None:
    """Say that the message was delivered before: in the delivery info, and in the headers if it has any, as kombu."""
    if isinstance(message.get("headers"), dict):
        message["headers"]["redelivered"] = True
    delivery_info(message)["redelivered"] = True


def place(message: dict[str, Any], queue: str | None, keys: ProcessKeys, *, died: bool, max_attempts: int) -> Place:
    """Decide where a message goes; with `died`, the process in which it was started died, which is counted in it."""
    info = delivery_info(message)
    if queue == "":
        return Place(None)
    deaths = info.get(DEATHS_STAMP)
    deaths = deaths if type(deaths) is int and deaths > 0 else 0
    if died:
        deaths += 1
        info[DEATHS_STAMP] = deaths
    if queue is None:
        info[DEAD_STAMP] = "its queue is unknown: no stamp, and its exchange has not exactly one queue"
        return Place(dead_list(UNROUTABLE), dumps(message), dead=True)
    if died and 0 < max_attempts <= deaths:
        info[DEAD_STAMP] = f"it was started in {deaths} processes that died"
        return Place(dead_list(queue), dumps(message), dead=True)
    step = step_of(message, keys.steps)
    return Place(f"{queue}{keys.separator}{step}" if step else queue, dumps(message), step=step)


def place_of(
    entry: str | bytes,
    bound: Callable[[str], Iterable[Binding]],
    keys: ProcessKeys,
    *,
    died: bool,
    max_attempts: int,
    redelivered: bool,
) -> Place:
    """Decide where an entry of an unacked hash goes; `bound` gives the bindings of an exchange.

    What is not one of kombu's messages is kept as it is, among those that belong to no queue.
    """
    as_it_is = Place(dead_list(UNROUTABLE), entry, dead=True)
    letter = letter_of(entry)
    if letter is None:
        return as_it_is
    if redelivered:
        mark_redelivered(letter.message)
    try:
        return place(letter.message, source_queue(letter, bound), keys, died=died, max_attempts=max_attempts)
    except RecursionError:  # nested so deep that it can be read and not written
        return as_it_is


def dead_list(queue: str) -> str:
    """The list of a queue's dead letters."""
    return f"celeriac:dead:{queue}"


def newest_first(scores: Mapping[str, float], tags: Iterable[str]) -> list[str]:
    """Order tags so that pushing them one by one to the consumed end leaves the oldest next in line."""
    return sorted(tags, key=lambda tag: scores.get(tag, 0.0) % STARTED_SCORE, reverse=True)
