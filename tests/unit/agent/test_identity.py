"""Who a worker says it is."""

import pytest
from celeriac_agent.identity import Identity

pytestmark = pytest.mark.unit


def test_each_start_in_the_same_pod_is_another_process() -> None:
    environment = {"CELERIAC_POOL_UID": "u", "CELERIAC_POD_NAME": "worker-1", "CELERIAC_POD_UID": "p"}
    first, second = (Identity.from_environment(environment, 1.0) for _ in range(2))
    assert first.process.startswith("worker-1.")
    assert first.process != second.process
    assert first.max_attempts == 5
