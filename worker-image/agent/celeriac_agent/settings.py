"""The application's transport options, and the keys of its own that a process lays over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .channel import TaskChannel
from .odd_values import DEFAULT_STEPS, as_steps, as_text, as_timeout

SEPARATOR = "\x06\x16"  # kombu's
VISIBILITY_SECONDS = 10 * 365 * 86400  # the operator restores, not the clock
LAYOUT = ("global_keyprefix", "sep", "priority_steps")
KEYS = ("unacked_key", "unacked_index_key", "unacked_mutex_key", "visibility_timeout")


@dataclass(frozen=True)
class ProcessKeys:
    """The keys of one process in Redis, as kombu names them: without the global prefix."""

    prefix: str
    unacked: str
    index: str
    mutex: str
    separator: str
    steps: tuple[int, ...]

    @classmethod
    def of_app(cls, options: Mapping[str, Any], process: str) -> ProcessKeys:
        """Derive the process's own keys from the application's transport options."""

        def own(option: str, default: str) -> str:
            return f"{as_text(options.get(option), default)}.{process}"

        return cls(
            prefix=as_text(options.get("global_keyprefix")),
            unacked=own("unacked_key", "unacked"),
            index=own("unacked_index_key", "unacked_index"),
            mutex=own("unacked_mutex_key", "unacked_mutex"),
            separator=as_text(options.get("sep"), SEPARATOR),
            steps=as_steps(options.get("priority_steps")) or DEFAULT_STEPS,
        )

    @classmethod
    def of_entry(cls, prefix: str, entry: Mapping[str, Any]) -> ProcessKeys:
        """Read the keys of another process from its entry in the registry."""
        return cls(
            prefix=prefix,
            unacked=entry["unacked"],
            index=entry["index"],
            mutex=entry["mutex"],
            separator=entry["separator"],
            steps=tuple(entry["prioritySteps"]),
        )

    def transport_options(self) -> dict[str, Any]:
        """What kombu has to be told so that it uses these keys."""
        return {
            "unacked_key": self.unacked,
            "unacked_index_key": self.index,
            "unacked_mutex_key": self.mutex,
            "visibility_timeout": VISIBILITY_SECONDS,
        }


class TransportSettings:
    """The application's transport options as its worker really has them, and the process's own keys over them.

    They are read from the channel that the worker consumes through, and laid over that connection alone. Where the
    application set them does not matter then: names with a namespace win over others in its configuration before Celery
    5.7, a handler may set them late, a transport class of its own may hold them. And whatever else connects from here,
    a task that consumes by itself or the pool of producers, keeps to what the application has set.

    `can_be_told` is False where the registry could not say into which lists this process's messages belong.
    """

    def __init__(self, options: Mapping[str, Any], process: str) -> None:
        self._process = process
        self._over: dict[str, Any] = {"visibility_timeout": VISIBILITY_SECONDS}  # what connections are made with
        self._before: dict[str, Any] = {}  # what the application has in these places
        self.settled = False  # read from a channel: later connections are made alike, whatever is set meanwhile
        self.read(options)

    def read(self, options: Mapping[str, Any]) -> None:
        """Derive the keys from the application's options."""
        self.keys = ProcessKeys.of_app(options, self._process)
        self.visibility_timeout = as_timeout(options.get("visibility_timeout"))  # the application's own
        self.can_be_told = as_steps(options.get("priority_steps")) is not None

    def prepare(self, connection: Any) -> None:
        """Before a connection is made: let kombu put back nothing by the clock while it connects.

        Its keys are the application's at first. kombu writes to them while it connects, and an ACL may allow no others.
        """
        given = dict(connection.transport_options or {})
        if not self._before:
            own = getattr(connection.get_transport_cls(), "Channel", None)
            self._before = {name: given.get(name, getattr(own, name, None)) for name in self._over}
        connection.transport_options = {**given, **self._over}

    def settle(self, channel: TaskChannel) -> None:
        """Read what the channel really uses; once for a process."""
        if not self.settled:
            used = channel.options(LAYOUT + KEYS)
            self.read({**used, **self._before})
            self._before = {**used, **self._before}
            self.settled = True

    def lay_over(self, channel: TaskChannel) -> bool:
        """Let a connection use the process's own keys; whether it does. Only before anything is consumed."""
        self._over = {**{name: self._before[name] for name in LAYOUT}, **self.keys.transport_options()}
        channel.set_options(self.keys.transport_options())
        return channel.uses(self.keys.transport_options())

    def take_back(self, channel: TaskChannel) -> None:
        """Return to the application's own keys; only before anything was consumed."""
        self._over = {}
        channel.set_options({name: self._before[name] for name in KEYS if name in self._before})
