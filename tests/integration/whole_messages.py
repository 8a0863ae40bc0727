"""What becomes of messages that are read whole and written anew, as the operator did before it left bodies in Redis."""

import json
from bisect import bisect
from collections.abc import Sequence
from typing import Any

UNROUTABLE = "celeriac:dead:unroutable"
NO_ROUTE = "its queue is unknown: no stamp, and its exchange has not exactly one queue"
STEPS = (0, 3, 6, 9)
MAX_ATTEMPTS = 5

Lists = dict[str, list[bytes]]


def after_a_crash(entries: Sequence[tuple[bytes, bool]]) -> Lists:
    """All lists once a process was restored that died: its entries, the oldest first, each with whether it had begun.

    No exchange has bindings.
    """
    lists: Lists = {}
    goes = [_restored(*each) for each in reversed(entries)]
    for queue, step, text, dead in sorted((each for each in goes if each and not each[3]), key=lambda each: each[1]):
        assert not dead
        lists.setdefault(_list(queue, step), []).append(text)
    for queue, _, text, _ in reversed([each for each in goes if each and each[3]]):
        lists.setdefault(queue, []).insert(0, text)
    return lists


def after_requeue(letters: Sequence[bytes], queue: str) -> Lists:
    """All lists once the dead letters of a queue were sent again; they are given the oldest first."""
    lists: Lists = {}
    for text in letters:
        message = _loaded(text)
        if isinstance(message, dict) and isinstance(message.get("properties"), dict):
            info = {name: value for name, value in _info(message).items() if not _is_of_the_dead(name)}
            lists.setdefault(_list(queue, _step(message)), []).insert(0, _dumped(message, info))
        else:
            lists.setdefault(f"celeriac:dead:{queue}", []).insert(0, text)
    return lists


def _restored(entry: bytes, started: bool) -> tuple[str, int, bytes, bool] | None:
    content = _loaded(entry)
    if not isinstance(content, list) or len(content) != 3:
        return UNROUTABLE, 0, entry, True
    message, exchange, routing_key = content
    if not isinstance(message, dict) or not isinstance(message.get("properties"), dict):
        return UNROUTABLE, 0, entry, True
    info = dict(_info(message))
    stamp = info.get("celeriac_queue")
    queue = stamp if isinstance(stamp, str) else None if exchange else str(routing_key or "") or None
    if queue == "":
        return None
    deaths = info.get("celeriac_deaths")
    deaths = (deaths if type(deaths) is int and deaths > 0 else 0) + started
    info |= {"redelivered": True} | ({"celeriac_deaths": deaths} if deaths else {})
    if queue is None:
        return UNROUTABLE, 0, _dumped(message, info | {"celeriac_dead": NO_ROUTE}, redelivered=True), True
    if started and deaths >= MAX_ATTEMPTS:
        why = f"it was started in {deaths} processes that died"
        return f"celeriac:dead:{queue}", 0, _dumped(message, info | {"celeriac_dead": why}, redelivered=True), True
    return queue, _step(message), _dumped(message, info, redelivered=True), False


def _loaded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _dumped(message: dict[str, Any], info: dict[str, Any], **headers: Any) -> bytes:
    message = {**message, "properties": {**message["properties"], "delivery_info": info}}
    if isinstance(message.get("headers"), dict):
        message["headers"] = {**message["headers"], **headers}
    return json.dumps(message).encode()


def _info(message: dict[str, Any]) -> dict[str, Any]:
    info = message["properties"].get("delivery_info")
    return info if isinstance(info, dict) else {}


def _is_of_the_dead(name: str) -> bool:
    return name in ("celeriac_deaths", "celeriac_dead")


def _step(message: dict[str, Any]) -> int:
    try:
        priority = max(0, min(9, int(message["properties"]["priority"])))
    except (KeyError, TypeError, ValueError, OverflowError):
        priority = 0
    return STEPS[bisect(STEPS, priority) - 1]


def _list(queue: str, step: int) -> str:
    return f"{queue}\x06\x16{step}" if step else queue
