"""kopf calls what it is given in a thread, unless it is a coroutine function."""

import inspect

import pytest

from celeriac.settings import Settings
from celeriac.watching.kopf_events import Takes, watch_registry

pytestmark = pytest.mark.unit


def test_events_reach_the_store_on_the_event_loop_and_never_in_a_thread() -> None:
    registry = watch_registry(Takes(lambda _: None, lambda _: None), Settings(namespace_selector="shard=a"))
    handlers = [handler.fn for handler in registry._watching.get_all_handlers()]
    assert len(handlers) == 2
    assert all(inspect.iscoroutinefunction(handle) for handle in handlers)
