"""The application's transport options, and the keys of its own that a process lays over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .channel import TaskChannel
from .odd_values import DEFAULT_STEPS, as_steps, as_text, as_timeout

SEPARATOR = "\x06\x16"  # kombu's
VISIBILITY_SECONDS = 10 * 365 * 86400  # the operator restores, not the clock


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
    """The application's transport options, and the process's own keys over them.

    `can_be_told` is False where the registry could not say into which lists this process's messages belong.
    """

    def __init__(self, app: Any, process: str) -> None:
        self._app = app
        self._options: dict[str, Any] = dict(app.conf.broker_transport_options or {})
        self.keys = ProcessKeys.of_app(self._options, process)
        self.visibility_timeout = as_timeout(self._options.get("visibility_timeout"))  # the application's own
        self.can_be_told = as_steps(self._options.get("priority_steps")) is not None

    def lay_over(self, channel: TaskChannel) -> None:
        """Let the connection of this channel use the process's own keys; only before anything was consumed.

        No other connection of the process does: what a task or the application consumes by itself stays in the
        application's keys, where a reconnect or the end of this worker does not touch it.
        """
        own, connection = self.keys.transport_options(), channel.raw.connection.client
        connection.transport_options = {**connection.transport_options, **own}  # for channels that are yet to be made
        for raw in channel.siblings():
            for name, value in own.items():
                setattr(raw, name, value)
                raw.qos.__dict__.pop(name, None)  # kombu's QoS keeps what it has read
