"""What holds for every unit test; that a machine is busy makes no example that hypothesis draws a failure."""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "celeriac", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("celeriac")


@pytest.fixture(autouse=True)
def recursion_limit() -> Iterator[None]:
    """What a program raises for itself (`celeriac.cluster.depth`) is not left to the next test."""
    before = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(before)
