"""Stories beside each other in several processes: which of them have to stay in one (pytest-xdist)."""

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class Beside(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out tests in the order of their collection; those for which `shares` says the same stay in one process."""

    def __init__(self, config: pytest.Config, log: Any, shares: Callable[[str], str]) -> None:
        """`shares` is asked with the id of a test."""
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._shares = shares

    def _split_scope(self, nodeid: str) -> str:
        return self._shares(nodeid)


def module(nodeid: str) -> str:
    """The name of a test's module, without the `test_`."""
    return PurePath(nodeid.partition("::")[0]).stem.removeprefix("test_")


def longest_first(items: list[pytest.Item], modules: tuple[str, ...]) -> None:
    """Sort tests in place: these modules come first, so that no process ends long after the others."""
    order = {name: place for place, name in enumerate(modules)}
    items.sort(key=lambda item: order.get(module(item.nodeid), len(order)))
