"""What the application has set, as the agent uses it and as it tells the operator, however odd it is."""

import json
import math
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest
from celeriac_agent.celery_worker import CeleryWorker
from celeriac_agent.channel import TaskChannel
from celeriac_agent.identity import Identity
from celeriac_agent.registry import Registry
from celeriac_agent.settings import VISIBILITY_SECONDS, ProcessKeys, TransportSettings
from kombu.connection import Connection
from kombu.transport import virtual

from celeriac.brokers.redis.registration import process_of

pytestmark = pytest.mark.unit

POD = {
    "CELERIAC_NAMESPACE": "shop",
    "CELERIAC_POOL": "ml",
    "CELERIAC_POOL_UID": "pool",
    "CELERIAC_POD_NAME": "worker-1",
    "CELERIAC_POD_UID": "pod",
}
NEVER = None


class Name(str, Enum):  # noqa: UP042 (as applications have it that run on Python 3.9)
    """What f-strings show of it is not what kombu adds to a key."""

    SHOP = "shop:"


def settings(**options: Any) -> TransportSettings:
    """As an application with these transport options has them."""
    return TransportSettings(options, "worker-1.1a")


def registration(queues: list[str], environment: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    """What the registry says of the process; it is strict JSON, and the operator can read it."""
    identity = Identity.from_environment({**POD, **(environment or {})}, 1.5)
    chosen = TransportSettings(options, identity.process)
    text = json.dumps(Registry(identity, chosen).entry(queues), allow_nan=False)
    assert process_of(chosen.keys.prefix, "pool", identity.process.encode(), text.encode()) is not None
    return dict(json.loads(text))


def test_the_keys_of_a_process_follow_the_names_that_the_application_chose() -> None:
    keys = ProcessKeys.of_app({"unacked_key": "held", "priority_steps": [5, 0]}, "p.1")
    assert (keys.unacked, keys.index, keys.mutex) == ("held.p.1", "unacked_index.p.1", "unacked_mutex.p.1")
    assert (keys.steps, keys.prefix) == ((5, 0), "")


@pytest.mark.parametrize(
    ("timeout", "told"),
    [
        (None, 3600.0),
        (0, 3600.0),
        (60, 60.0),
        (0.5, 0.5),
        ("3600", 3600.0),
        (Decimal("60.5"), 60.5),
        (timedelta(minutes=2), 120.0),
        (10**9, 1e9),
        (math.inf, NEVER),
        ("Infinity", NEVER),
        (math.nan, NEVER),
        (10**400, NEVER),
        (timedelta.max, timedelta.max.total_seconds()),
        (-1, 3600.0),
        (-math.inf, 3600.0),
        (timedelta(seconds=-5), 3600.0),
        ("soon", 3600.0),
        ("", 3600.0),
        ([60], 3600.0),
        ({}, 3600.0),
        (object(), 3600.0),
    ],
)
def test_any_visibility_timeout_can_be_told(timeout: Any, told: float | None) -> None:
    assert settings(visibility_timeout=timeout).visibility_timeout == told
    assert registration([], visibility_timeout=timeout)["visibilityTimeout"] == told


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (None, [0, 3, 6, 9]),
        ([], [0, 3, 6, 9]),
        ((), [0, 3, 6, 9]),
        ([0, 5], [0, 5]),
        ((0, 5), [0, 5]),
        (range(10), list(range(10))),
        ([9, 6, 3, 0], [9, 6, 3, 0]),
    ],
)
def test_priority_steps_are_told_as_kombu_uses_them(steps: Any, told: list[int]) -> None:
    assert registration([], priority_steps=steps)["prioritySteps"] == told
    assert settings(priority_steps=steps).can_be_told


@pytest.mark.parametrize(
    "steps",
    [["0", "3"], [0.0, 3.0], [False, True], [-1, 5], [None], "0369", {0, 3}, {0: 1}, 5, math.nan, [math.inf], object()],
)
def test_steps_that_only_kombu_could_name_leave_the_messages_to_it(steps: Any) -> None:
    chosen = settings(priority_steps=steps)
    assert not chosen.can_be_told
    assert chosen.keys.steps == (0, 3, 6, 9)


@pytest.mark.parametrize(
    ("options", "field", "told"),
    [
        ({"sep": None}, "separator", "\x06\x16"),
        ({"sep": ""}, "separator", "\x06\x16"),
        ({"sep": ":"}, "separator", ":"),
        ({"sep": b":"}, "separator", ":"),
        ({"sep": 7}, "separator", "7"),
        ({"unacked_key": None}, "unacked", "unacked."),
        ({"unacked_key": b"held"}, "unacked", "held."),
        ({"unacked_key": 7}, "unacked", "7."),
        ({"unacked_index_key": None}, "index", "unacked_index."),
        ({"unacked_mutex_key": math.nan}, "mutex", "nan."),
        ({"unacked_key": Name.SHOP}, "unacked", "shop:."),
    ],
)
def test_names_are_told_as_text(options: dict[str, Any], field: str, told: str) -> None:
    assert registration([], **options)[field].startswith(told)


@pytest.mark.parametrize(
    ("prefix", "used"), [(None, ""), ("", ""), ("shop:", "shop:"), (b"shop:", "shop:"), (7, "7"), (Name.SHOP, "shop:")]
)
def test_the_key_prefix_is_a_text(prefix: Any, used: str) -> None:
    assert settings(global_keyprefix=prefix).keys.prefix == used


@pytest.mark.parametrize(
    ("text", "told"),
    [("", 5), ("3", 3), ("0", 0), ("-1", 5), ("many", 5), ("3.5", 5), ("²", 5), ("٣", 3), ("9" * 9000, 5), ("inf", 5)],
)
def test_any_number_of_attempts_can_be_told(text: str, told: int) -> None:
    assert registration([], {"CELERIAC_MAX_ATTEMPTS": text})["maxAttempts"] == told


@pytest.mark.parametrize(
    ("name", "told"), [("mail", "mail"), (b"mail", "mail"), (7, "7"), (None, ""), (Name.SHOP, "shop:"), (1.5, "1.5")]
)
def test_names_of_queues_are_told_as_text(name: Any, told: str) -> None:
    consumed = SimpleNamespace(consume_from={name: SimpleNamespace(name=name)})
    queues = worker(amqp=SimpleNamespace(queues=consumed)).queues()
    assert [type(each) for each in queues] == [str]
    assert registration(queues)["queues"] == [told]


@pytest.mark.parametrize(
    ("multiplier", "told"),
    [
        (4, 4),
        (0, 0),
        (None, 0),
        ("4", 4),
        (1.5, 1),
        (-1, 0),
        (math.inf, 0),
        (math.nan, 0),
        ("many", 0),
        ([], 0),
        (True, 1),
    ],
)
def test_any_prefetch_multiplier_can_be_told(multiplier: Any, told: int) -> None:
    found = worker(prefetch_multiplier=multiplier).prefetch_multiplier()
    assert (type(found), found) == (int, told)


@pytest.mark.parametrize(
    ("limit", "processes", "told"),
    [(4, 9, 4), (None, 3, 3), ("4", 1, 4), (2.5, 1, 2), (None, None, 1), (-2, 1, 1), (0, 0, 1)],
)
def test_any_number_of_slots_can_be_told(limit: Any, processes: Any, told: int) -> None:
    found = worker(pool=SimpleNamespace(limit=limit, num_processes=processes))
    assert (found.slots(), found.most_slots()) == (told, told)


@pytest.mark.parametrize("value", [None, 0, "", "no", 5, math.nan, [], object()])
def test_switches_are_told_as_what_celery_takes_them_for(value: Any) -> None:
    conf = {"worker_disable_prefetch": value}
    found = worker(conf=SimpleNamespace(task_acks_late=value, get=conf.get))
    assert found.acks_late() is found.limits_prefetch() is bool(value)


def test_another_starts_keys_are_read_whatever_it_said_of_its_timeout() -> None:
    for timeout in (3600.0, math.inf, None, "soon"):
        entry = {**registration([]), "visibilityTimeout": timeout}
        assert ProcessKeys.of_entry("", json.loads(json.dumps(entry))).separator == "\x06\x16"


def connection_with(**options: Any) -> Any:
    """One of kombu's that is not made."""
    return Connection("redis://", transport_options=options)  # type: ignore[no-untyped-call]


def connected(connection: Any, qos: Any = None) -> TaskChannel:
    """The channel of a connection as far as it can be had without a server."""
    transport = connection.transport
    raw = transport.Channel.__new__(type("Channel", (transport.Channel,), {}))
    virtual.Channel.__init__(raw, transport)  # type: ignore[no-untyped-call]
    raw.QoS = qos or transport.Channel.QoS
    transport.channels.append(raw)
    return TaskChannel(SimpleNamespace(task_consumer=SimpleNamespace(channel=raw)))


def test_a_connection_has_the_processs_own_keys_and_gives_them_back() -> None:
    chosen = settings()
    connection = connection_with(visibility_timeout=5, unacked_key="held")
    chosen.prepare(connection)
    assert connection.transport_options["visibility_timeout"] == VISIBILITY_SECONDS
    channel = connected(connection)
    chosen.settle(channel)
    assert (chosen.keys.unacked, chosen.visibility_timeout) == ("held.worker-1.1a", 5.0)
    assert channel.qos.unacked_key == "held"
    assert chosen.lay_over(channel)
    assert (channel.qos.unacked_key, channel.raw.unacked_mutex_key) == ("held.worker-1.1a", "unacked_mutex.worker-1.1a")
    chosen.take_back(channel)
    assert (channel.qos.unacked_key, channel.qos.visibility_timeout) == ("held", 5)
    assert connection.transport_options["unacked_mutex_key"] == "unacked_mutex"


def test_later_connections_are_made_as_the_first_whatever_is_set_meanwhile() -> None:
    chosen = settings()
    first = connection_with(visibility_timeout=5, global_keyprefix="shop:")
    chosen.prepare(first)
    channel = connected(first)
    chosen.settle(channel)
    assert chosen.lay_over(channel)
    second = connection_with(visibility_timeout=9, global_keyprefix="mall:", sep=":")
    chosen.prepare(second)
    channel = connected(second)
    chosen.settle(channel)
    assert channel.options(("global_keyprefix", "sep", "unacked_key")) == {
        "global_keyprefix": "shop:",
        "sep": "\x06\x16",
        "unacked_key": "unacked.worker-1.1a",
    }
    assert (chosen.keys.prefix, chosen.visibility_timeout) == ("shop:", 5.0)


def test_a_channel_that_keeps_nothing_in_flight_has_no_keys() -> None:
    chosen = settings()
    connection = connection_with(ack_emulation=False)
    chosen.prepare(connection)
    channel = connected(connection, virtual.QoS)
    chosen.settle(channel)
    assert not chosen.lay_over(channel)


def worker(**parts: Any) -> CeleryWorker:
    """A worker of Celery's as far as it is asked."""
    app = SimpleNamespace(amqp=parts.pop("amqp", None), conf=parts.pop("conf", None))
    return CeleryWorker(SimpleNamespace(app=app, **parts))
