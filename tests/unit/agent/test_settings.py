"""The keys that a process lays over those of the application."""

import pytest
from celeriac_agent.settings import ProcessKeys

pytestmark = pytest.mark.unit


def test_the_keys_of_a_process_follow_the_names_that_the_application_chose() -> None:
    keys = ProcessKeys.of_app({"unacked_key": "held", "priority_steps": [5, 0]}, "p.1")
    assert (keys.unacked, keys.index, keys.mutex) == ("held.p.1", "unacked_index.p.1", "unacked_mutex.p.1")
    assert (keys.steps, keys.prefix) == ((0, 5), "")
