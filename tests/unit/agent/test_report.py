"""What is said once a second."""

import pytest
from celeriac_agent.report import without_credentials

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://user:p@ss@cache:6379/1", "redis://cache:6379/1"),
        ("rediss://:secret@cache:6379/0?password=secret", "rediss://cache:6379/0"),
        ("redis+socket:///run/redis.sock?virtual_host=2", "redis+socket:///run/redis.sock"),
        ("sentinel://:secret@a:26379;sentinel://:secret@b:26379", "sentinel://a:26379"),
        ("user:secret@cache", "redis://cache"),
    ],
)
def test_an_address_is_shown_without_credentials(address: str, shown: str) -> None:
    assert without_credentials(address) == shown
