"""Times of the API, and what else an API server takes for one: a status may be written or restored by anybody."""

from datetime import UTC, datetime

import pytest

from celeriac.cluster.times import parse_timestamp, timestamp

pytestmark = pytest.mark.unit

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_a_time_is_read_as_it_was_written() -> None:
    assert parse_timestamp(timestamp(NOON)) == NOON


@pytest.mark.parametrize(
    "text", ["2026-01-01t12:00:00z", "2026-01-01T14:00:00+02:00", "2026-01-01T12:00:00.000000001Z"]
)
def test_all_that_the_api_server_accepts_is_a_moment(text: str) -> None:
    """As it was tried on 1.34."""
    assert parse_timestamp(text) == NOON


def test_a_time_that_no_clock_shows_was_long_ago() -> None:
    for text in ("0000-01-01T00:00:00Z", "2026-01-01"):
        assert (NOON - parse_timestamp(text)).total_seconds() >= 0
