"""Which functions a worker runs with: `inspect().replaced()` tells each that Celery and kombu might have replaced."""

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

from celery.worker.control import inspect_command

PACKAGES = {"amqp", "billiard", "celery", "kombu", "redis", "vine"}
PARTS = {
    "worker": "",
    "pool": "pool",
    "children": "pool._pool",
    "results": "pool._pool._result_handler",
    "consumer": "consumer",
    "connection": "consumer.connection",
    "transport": "consumer.connection._transport",
    "poller": "consumer.connection._transport.cycle",
    "prefetch": "consumer.qos",
    "channel": "consumer.task_consumer.channel",
    "qos": "consumer.task_consumer.channel.qos",
    "hub": "hub",
    "timer": "timer",
}
"""The objects of a worker whose methods can be replaced one by one, and the way to each from the worker."""

OPTIONS = (
    *("unacked_key", "unacked_index_key", "unacked_mutex_key", "visibility_timeout"),
    *("socket_timeout", "socket_keepalive", "socket_keepalive_options"),
)


def name_of(function: Any) -> str:
    return f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', type(function).__name__)}"


def of_modules() -> Iterator[tuple[str, str]]:
    """All functions of all modules and classes of Celery and below, by the module where they are found."""
    for path, module in list(sys.modules.items()):
        if path.split(".")[0] not in PACKAGES:
            continue
        for name, value in sorted(vars(module).items()):
            owners = (
                {name: value} if not isinstance(value, type) else {f"{name}.{k}": v for k, v in vars(value).items()}
            )
            for place, each in sorted(owners.items()):
                function = getattr(each, "__func__", getattr(each, "fget", each))
                if callable(function) and hasattr(function, "__qualname__"):
                    yield path, f"{place} is {name_of(function)}"


def of_objects(worker: Any) -> Iterator[tuple[str, str]]:
    """All functions that stand on an object itself, before those of its class."""
    for part, path in PARTS.items():
        found = worker
        for step in filter(None, path.split(".")):
            found = getattr(found, step, None)
        for name, value in getattr(found, "__dict__", {}).items():
            if callable(value) and hasattr(value, "__qualname__") and not isinstance(value, type):
                yield f"{part}.{name}", name_of(value)
        for key, value in getattr(found, "state_handlers", {}).items():
            yield f"{part}.state_handlers[{key}]", name_of(value)


@inspect_command()  # type: ignore[untyped-decorator]
def replaced(state: Any) -> dict[str, Any]:
    worker, channel = state.consumer.controller, state.consumer.task_consumer.channel
    modules: dict[str, list[str]] = {}
    for path, line in of_modules():
        modules.setdefault(path, []).append(line)
    return {
        "modules": {path: hashlib.sha256("\n".join(lines).encode()).hexdigest() for path, lines in modules.items()},
        "functions": sum(map(len, modules.values())),
        "objects": dict(of_objects(worker)),
        "options": {name: getattr(channel, name) for name in OPTIONS},
        "configured": dict(state.app.conf.broker_transport_options or {}),
    }
