"""The table of docs/status.md is that of the situations which are shown on an API server."""

import re

import pytest

from celeriac.api.reasons import Reason
from celeriac.reporting.deadlines import NODE_SECONDS, PROGRESS_SECONDS, SHORT_SECONDS, patience
from tests.integration.kstatus import VERDICTS
from tests.integration.status_rows import ROWS, When
from tests.status_table import PAGE, page_with_table

pytestmark = pytest.mark.unit


def test_the_table_is_that_of_the_situations() -> None:
    page = PAGE.read_text()
    assert "| at zero, nothing to do |" in page
    assert page_with_table(page) == page, "run: make generate"


def test_at_least_twenty_situations_are_told_each_once_with_reasons_that_exist() -> None:
    assert len({row.pool for row in ROWS}) > 20
    assert len({(row.pool, row.when) for row in ROWS}) == len(ROWS)
    assert {row.verdict for row in ROWS} == set(VERDICTS)
    told = {text.split()[1] for row in ROWS for text in row.conditions.values() if " " in text}
    assert told <= {reason.value for reason in Reason}


def test_what_the_table_says_of_time_is_what_the_operator_counts() -> None:
    for row in ROWS:
        seconds = re.search(r"for (\d+) s", row.situation)
        if row.when is When.LATER:
            reason = row.stalled.split()[1]
            given = PROGRESS_SECONDS if reason == Reason.PROGRESS_DEADLINE_EXCEEDED else patience(Reason(reason))
            assert seconds is not None, row
            assert float(seconds[1]) == given, row


def test_the_page_names_the_times() -> None:
    for seconds in (SHORT_SECONDS, NODE_SECONDS, PROGRESS_SECONDS):
        assert f"{seconds:.0f} s" in PAGE.read_text()
