"""kopf calls what it is given in a thread, unless it is a coroutine function."""

import inspect

import pytest

from celeriac.watching.kopf_events import watch_registry
from celeriac.watching.store import Store

pytestmark = pytest.mark.unit


def test_events_reach_the_store_on_the_event_loop_and_never_in_a_thread() -> None:
    registry = watch_registry(Store(lambda _: None))
    handlers = [handler.fn for handler in registry._watching.get_all_handlers()]
    assert len(handlers) == 1
    assert all(inspect.iscoroutinefunction(handle) for handle in handlers)
