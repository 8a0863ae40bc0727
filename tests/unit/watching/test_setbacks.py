"""What fails again and again is told with its cause, and does not fill the log."""

import logging

import pytest

from celeriac.cluster.errors import Unavailable
from celeriac.watching.setbacks import AGAIN_SECONDS, Setbacks

pytestmark = pytest.mark.unit


def test_a_fault_of_the_operator_is_told_with_its_traceback_once_and_tried_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setbacks, now, pauses = Setbacks("the objects could not be listed"), 0.0, []
    while now < AGAIN_SECONDS / 2:
        pauses.append(setbacks.note(KeyError("metadata"), now))
        now += pauses[-1]
    assert pauses[:6] == [2, 4, 8, 16, 32, 60]
    assert set(pauses[6:]) == {60}
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert "the objects could not be listed, by a fault of the operator" in record.message
    setbacks.note(KeyError("metadata"), AGAIN_SECONDS)
    assert len(caplog.records) == 2, "it is still there"


def test_an_answer_of_the_api_server_is_told_when_it_changes_and_asked_for_again_soon(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setbacks = Setbacks("the watches ended")
    away, slow = Unavailable(0, "Unavailable", "connection refused"), Unavailable(503, "Unavailable", "starting")
    assert [setbacks.note(error, 0.0) for error in (away, away, away, slow, slow)] == [2, 4, 5, 5, 5]
    assert [(record.levelno, record.exc_info) for record in caplog.records] == 2 * [(logging.WARNING, None)]


def test_the_next_failure_after_a_success_is_news(caplog: pytest.LogCaptureFixture) -> None:
    setbacks, error = Setbacks("the watches ended"), Unavailable(0, "Unavailable", "connection refused")
    setbacks.note(error, 0.0)
    setbacks.over()
    assert setbacks.note(error, 1.0) == 2
    assert len(caplog.records) == 2
