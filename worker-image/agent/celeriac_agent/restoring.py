"""Putting back what nobody runs: what earlier starts in this pod left, and after a reconnect what is held here.

Redis may refuse that for a while: it is tried again until it is done, since nobody else would do it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .channel import TaskChannel
from .counters import Counters
from .inflight import InFlight
from .refusals import Refusals, passes
from .registry import Registry
from .settings import ProcessKeys
from .slots import Slots
from .unwritten import LOST, Unwritten


class Restoring:
    """What is still to be put back."""

    def __init__(
        self, registry: Registry, slots: Slots, unwritten: Unwritten, refusals: Refusals, counters: Counters
    ) -> None:
        self._registry, self._slots, self._counters = registry, slots, counters
        self._unwritten, self._refusals = unwritten, refusals
        self._own = False  # the connection was made anew
        self._inherited = False  # earlier starts in this pod may have left something
        self._begun = False

    def connected(self, *, again: bool) -> None:
        """Earlier starts are looked for once; `again`, what this process holds and does not run goes back."""
        self._own = self._own or again
        self._inherited = self._inherited or not self._begun
        self._begun = True

    def step(self, channel: TaskChannel) -> None:
        """Do what is to be done; once in a worker's life and once for a connection, if Redis takes it at once.

        Raises redis-py's errors of the connection.
        """
        if not (self._own or self._inherited) or not self._refusals.is_time():
            return
        if self._own:
            # What is dirty is acknowledged, and flushed when the next message comes.
            kept = {*channel.qos._delivered, *self._slots.tags(), *self._unwritten.answered()}
            self._own = not self._try("restore", self._registry.own, died=False, skip=kept)
        if self._inherited:
            self._inherited = not self._inherit()

    def _inherit(self) -> bool:
        try:
            buried = [self._bury(process, entry) for process, entry in self._registry.predecessors()]
            return all(buried)
        except LOST:
            raise
        except Exception as error:
            self._counters.failed("look for earlier starts", error)
            return not passes(error)

    def _bury(self, process: str, entry: Mapping[str, Any]) -> bool:
        registry = self._registry
        try:
            keys = ProcessKeys.of_entry(registry.settings.keys.prefix, entry)
        except Exception as error:
            self._counters.failed("restore an earlier start", error)
            return True
        held = InFlight(registry.client, keys, registry.identity.max_attempts)
        if not self._try("restore an earlier start", held, died=True):
            return False
        if held.is_empty():
            registry.forget(process, keys.mutex)
        return True

    def _try(self, what: str, held: InFlight, *, died: bool, skip: Collection[str] = ()) -> bool:
        """Whether nothing more is to be done: an error that does not pass is told, and left."""
        try:
            self._counters.count_restored(held.restore(died=died, skip=skip))
        except LOST:
            raise
        except Exception as error:
            self._counters.failed(what, error)
            if passes(error):
                self._refusals.wait()
                return False
        return True
