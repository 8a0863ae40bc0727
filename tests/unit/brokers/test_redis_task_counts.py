"""What stands in the hash in which agents count: anybody may write there, and only what agents write is read."""

import pytest
from celeriac_agent.counters import Counters
from celeriac_agent.hooks import Hooks
from celeriac_agent.tally import STATES, Tally

from celeriac.brokers.redis.task_counts import rows_of
from celeriac.brokers.task_counts import BUCKETS, RAN, WAITED, WIDTH, ended

pytestmark = pytest.mark.unit


def text(**fields: str) -> bytes:
    return "\0".join(f"{value} {name}" for name, value in fields.items()).encode()


def test_all_that_an_agent_writes_is_read() -> None:
    tally = Tally(Hooks(), Counters())
    for state in STATES:
        for seconds in (0.001, 0.01, 0.05, 0.2, 0.4, 0.7, 2, 4, 9, 20, 50, 200, 1000, 5000):
            tally.ended("app.tasks|x", state, seconds)
            tally.waited("app.tasks|x", seconds)
    batch = tally.batch()
    assert batch is not None
    written = batch.changes["app.tasks|x"]
    (row,) = rows_of(text(**{f"{what}|app.tasks|x": str(number) for what, number in written.items()})).values()
    assert len(row) == WIDTH
    assert row[:RAN] == (14,) * 5
    assert row[RAN : RAN + BUCKETS] == (5,) * BUCKETS
    assert row[WAITED : WAITED + BUCKETS] == (5,) * BUCKETS


@pytest.mark.parametrize(
    "field",
    [
        "x failed|work",
        "-1 failed|work",
        "1.5 failed|work",
        "9999999999999999999 failed|work",
        " failed|work",
        "1 failed",
        "1 fallen|work",
        "1 ran14|work",
        "1 names",
        "1 ",
        "",
        "\u00b2 failed|work",
    ],
)
def test_what_no_agent_writes_is_passed_over(field: str) -> None:
    assert rows_of(field.encode() + b"\0" + b"2 failed|other") == rows_of(b"2 failed|other")


def test_names_that_are_no_text_are_read_as_text_and_added_up() -> None:
    rows = rows_of(b"1 failed|a\xff\0" + b"2 failed|a\xfe\0" + b"3 failed|")
    assert {name: ended(row) for name, row in rows.items()} == {"a\ufffd": 3, "": 3}
