"""Messages that their workers no longer hold, and what has to become of each: for the agent and the operator alike.

kombu's source decides (Channel._lookup, _get_message_priority and priority of its Redis transport), with three rules
on top of it. A message for which kombu names several queues, or none, is kept apart: each of several has a copy.
What kombu stumbles over (an odd priority, headers that are none) goes back as far as it can be understood. What is no
message of kombu's is kept apart as it is.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
Rows = tuple[tuple[str, str, str], ...]

UNROUTABLE = "celeriac:dead:unroutable"
NO_ROUTE = "its queue is unknown: no stamp, and its exchange has not exactly one queue"
SEPARATOR = "\x06\x16"
NESTED = b"[" * 60_000 + b"]" * 60_000  # deeper than Python's JSON decoder goes
STEPS = (0, 3, 6, 9)


@dataclass(frozen=True)
class Case:
    """One entry of an unacked hash.

    `goes_to` is a list, or None for what is dropped; `message` is what stands there, or None for the entry as it is.
    `bindings` are those of every exchange: routing key, pattern, queue. With `died` it had been started in a process
    that died.
    """

    name: str
    entry: bytes
    goes_to: str | None
    message: Message | None = None
    bindings: Rows = ()
    steps: tuple[int, ...] = STEPS
    died: bool = False
    max_attempts: int = 5


def message(info: Mapping[str, Any] | None = None, **changes: Any) -> Message:
    """A task's message without a stamp; `changes` replace its parts, `priority` the one of its properties."""
    properties: dict[str, Any] = {
        "priority": changes.pop("priority", 0),
        "delivery_tag": "tag",
        "delivery_info": {"exchange": "", "routing_key": "mail", **(info or {})},
    }
    return {"body": "W1tdLCB7fSwge31d", "headers": {"id": "1"}, "properties": properties, **changes}


def stamped(queue: Any = "mail", **info: Any) -> Message:
    """A message that the agent has stamped with its queue."""
    return message({"celeriac_queue": queue, **info})


def entry(sent: Any, exchange: Any = "", routing_key: Any = "mail") -> bytes:
    """As it stands in the hash."""
    return json.dumps([sent, exchange, routing_key]).encode()


def redelivered(sent: Message, **info: Any) -> Message:
    """As it goes back."""
    back = deepcopy(sent)
    if isinstance(back.get("headers"), dict):
        back["headers"]["redelivered"] = True
    known = back["properties"].get("delivery_info")
    known = known if isinstance(known, dict) else {}
    back["properties"]["delivery_info"] = {**known, "redelivered": True, **info}
    return back


def without(sent: Message, *path: str) -> Message:
    """The message without one of its parts."""
    less = deepcopy(sent)
    part = less
    for name in path[:-1]:
        part = part[name]
    del part[path[-1]]
    return less


def back(name: str, sent: Message, goes_to: str = "mail", **options: Any) -> Case:
    """A message that goes back into a queue."""
    route = {key: options.pop(key) for key in ("exchange", "routing_key") if key in options}
    info = options.pop("info", {})
    return Case(name, entry(sent, **route), goes_to, redelivered(sent, **info), **options)


def unroutable(name: str, sent: Message, **options: Any) -> Case:
    """A message whose queue nobody knows."""
    return back(name, sent, UNROUTABLE, info={"celeriac_dead": NO_ROUTE}, **options)


def dead(name: str, sent: Message, deaths: int, **options: Any) -> Case:
    """A message that was started in too many processes that died."""
    info = {"celeriac_deaths": deaths, "celeriac_dead": f"it was started in {deaths} processes that died"}
    return back(name, sent, "celeriac:dead:mail", info=info, died=True, **options)


ONE = (("mail", "", "mail"),)
TWO = (("mail", "", "mail"), ("audit", "", "audit"))
TWO_ALIKE = (("mail", "", "mail"), ("mail", "", "audit"))
FANOUT = (("", "", "mail"), ("", "", "audit"))
NO_TEXTS: tuple[Any, ...] = (None, 5, True, ["mail"], {"mail": 1}, 1.5)
NO_NUMBERS: tuple[Any, ...] = (None, -1, "4", "many", 4.0, True, [], {})
NO_OBJECTS: tuple[Any, ...] = (None, [], "mail", 5)
TOPICS = (("order.*", r"^order\.[^\.]+$", "orders"), ("#.new", r"^.*?\.new$", "news"))

ROUTES = [
    back("a stamp names the queue", stamped()),
    back("a stamp beats every route", stamped(), exchange="topics", routing_key="order.new", bindings=TOPICS),
    Case("a broadcast is dropped", entry(stamped("")), None),
    Case("a broadcast is dropped although it was started", entry(stamped("")), None, died=True),
    back("the default exchange names it by the routing key", message(), "batch", routing_key="batch"),
    unroutable("the default exchange without a routing key", message(), routing_key=""),
    unroutable("null for a routing key", message(), exchange=None, routing_key=None),
    back("a number for a routing key", message(), "7", routing_key=7),
    back("the one queue of an exchange", message(), exchange="direct", bindings=ONE),
    unroutable("an exchange without queues", message(), exchange="direct"),
    unroutable("the one queue has another key", message(), exchange="direct", routing_key="sms", bindings=ONE),
    back("one of two queues has the key", message(), "audit", exchange="direct", routing_key="audit", bindings=TWO),
    unroutable("two queues have the key", message(), exchange="direct", bindings=TWO_ALIKE),
    back("one queue bound twice", message(), exchange="direct", bindings=(*ONE, ("mail", "^mail$", "mail"))),
    unroutable("the key differs in its case", message(), exchange="direct", routing_key="Mail", bindings=ONE),
    back("a topic that one pattern takes", message(), "orders", exchange="t", routing_key="order.a", bindings=TOPICS),
    unroutable("a topic that two patterns take", message(), exchange="t", routing_key="order.new", bindings=TOPICS),
    unroutable("a topic that no pattern takes", message(), exchange="t", routing_key="order.a.b", bindings=TOPICS),
    back(
        *("a pattern that is none stops nobody", message(), "mail"),
        exchange="t",
        bindings=(*ONE, ("x", "([", "audit"), ("y", "(?P<a>x)(?P<a>y)", "other")),
    ),
    unroutable("a fanout without a stamp and a key of none", message(), exchange="fan", bindings=FANOUT),
    unroutable("a fanout without a stamp", message(), exchange="fan", routing_key="", bindings=FANOUT),
    *(back(f"a stamp that is no text: {stamp}", stamped(stamp)) for stamp in NO_TEXTS),
]

PRIORITY_LISTS: tuple[tuple[Any, str], ...] = (
    (0, "mail"),
    (2, "mail"),
    (3, f"mail{SEPARATOR}3"),
    (8, f"mail{SEPARATOR}6"),
    (9, f"mail{SEPARATOR}9"),
    (10, f"mail{SEPARATOR}9"),
    (255, f"mail{SEPARATOR}9"),
    (10**30, f"mail{SEPARATOR}9"),
    (-1, "mail"),
    (None, "mail"),
    ("7", f"mail{SEPARATOR}6"),
    (" 7 ", f"mail{SEPARATOR}6"),
    ("high", "mail"),
    ("", "mail"),
    (3.9, f"mail{SEPARATOR}3"),
    (True, "mail"),
    ([9], "mail"),
    ({}, "mail"),
    (float("inf"), "mail"),
    (float("nan"), "mail"),
)

PRIORITIES = [
    *(
        back(f"priority {priority!r}", message({"celeriac_queue": "mail"}, priority=priority), key)
        for priority, key in PRIORITY_LISTS
    ),
    back("no priority", without(stamped(), "properties", "priority")),
    *(
        back(
            *(f"priority {priority} of steps {steps}", message({"celeriac_queue": "mail"}, priority=priority), key),
            steps=steps,
        )
        for steps, priority, key in [
            ((), 9, "mail"),
            ((0,), 9, "mail"),
            ((0, 5), 4, "mail"),
            ((0, 5), 5, f"mail{SEPARATOR}5"),
            ((3, 6), 0, f"mail{SEPARATOR}6"),  # kombu takes the last one
            ((3, 6), 4, f"mail{SEPARATOR}3"),
            ((9, 6, 3, 0), 9, "mail"),  # not sorted: kombu polls the first list only
            ((5, 0), 5, "mail"),
            ((0, 100), 255, "mail"),
        ]
    ),
]

DEATHS = [
    back("it waited in a process that died", stamped(celeriac_deaths=4)),
    back("its process died", stamped(), info={"celeriac_deaths": 1}, died=True),
    back("it died once more", stamped(celeriac_deaths=3), info={"celeriac_deaths": 4}, died=True),
    dead("it died once too often", stamped(celeriac_deaths=4), 5),
    dead("the first death is one too many", stamped(), 1, max_attempts=1),
    dead("it had died too often before", stamped(celeriac_deaths=9), 10),
    back("no limit", stamped(celeriac_deaths=9), info={"celeriac_deaths": 10}, died=True, max_attempts=0),
    *(back(f"a number of deaths that is none: {deaths!r}", stamped(celeriac_deaths=deaths)) for deaths in NO_NUMBERS),
    *(
        back(
            *(f"the first death after a number that is none: {deaths!r}", stamped(celeriac_deaths=deaths)),
            info={"celeriac_deaths": 1},
            died=True,
        )
        for deaths in NO_NUMBERS
    ),
    back(
        *("it died and belongs to no queue", message(), UNROUTABLE),
        info={"celeriac_deaths": 1, "celeriac_dead": NO_ROUTE},
        routing_key="",
        died=True,
    ),
]

DATES = {
    "eta": "2026-01-01T00:00:00+00:00",
    "at": {"__type__": "datetime", "__value__": "2026-01-01T00:00:00+00:00"},
    "by": {"__type__": "uuid", "__value__": {"hex": "0" * 32}},
    "costs": {"__type__": "decimal", "__value__": "1.10"},
}

SHAPES = [
    back("no headers", without(stamped(), "headers")),
    *(back(f"headers that are none: {some!r}", {**stamped(), "headers": some}) for some in NO_OBJECTS),
    back("headers are empty", {**stamped(), "headers": {}}),
    back("it was delivered before", redelivered(stamped())),
    back("its headers say that it was not", {**stamped(redelivered=False), "headers": {"redelivered": False}}),
    back("dates, UUIDs and decimals as kombu writes them", {**stamped(), "headers": {"id": "1", **DATES}}),
    back(
        "big numbers, empty lists, odd characters",
        {**stamped(), "headers": {"n": 2**70, "l": [], "t": "é\u2028\ud83d"}},
    ),
    back("no body", without(stamped(), "body")),
    back("a body that is no text", {**stamped(), "body": {"a": [1, None]}}),
    back("fields of others", {**stamped(), "x": {"y": [1.5, None, {"__type__": "z"}]}}),
    back("no delivery info", without(message(), "properties", "delivery_info")),
    *(
        back(
            *(f"delivery info that is none: {info!r}", {**message(), "properties": {"delivery_info": info}}),
            routing_key="mail",
        )
        for info in NO_OBJECTS
    ),
    back(
        *("its process died and it has no delivery info", without(message(), "properties", "delivery_info")),
        info={"celeriac_deaths": 1},
        died=True,
    ),
]

NO_MESSAGES = [
    Case(f"no message: {text[:40]!r}", text, UNROUTABLE)
    for text in [
        b"",
        b"no message",
        b"\xff",
        b"\x80\x04\x95pickled",
        b"[]",
        b"null",
        b"7",
        b'"abc"',
        b"{}",
        b'{"message": 1, "exchange": 2, "routing_key": 3}',
        b'["", "", ""]',
        b'[null, "", "mail"]',
        b'[[], "", "mail"]',
        b'[{}, "", "mail"]',
        b'[{"properties": null}, "", "mail"]',
        b'[{"properties": []}, "", "mail"]',
        b'[{"properties": {}}, ""]',
        b'[{"properties": {}}, "", "mail", 1]',
        NESTED,
    ]
]

CASES = [*ROUTES, *PRIORITIES, *DEATHS, *SHAPES, *NO_MESSAGES]
