"""What an exception says may be a foreign server's words: the log has them at DEBUG only."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.telemetry.logs import configure_logging, fields, log_unretrieved

pytestmark = pytest.mark.unit

CANARY = "foreign-words"


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def log_a_failure() -> None:
    try:
        try:
            raise ValueError(CANARY)
        except ValueError as error:
            raise BrokerDoubt(Reason.BROKER_ERROR, "told in words of ours") from error
    except BrokerDoubt:
        logging.getLogger("celeriac").exception("something failed")


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_places_of_a_failure_are_told_and_foreign_words_are_not(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("INFO", form)
    log_a_failure()
    told = capsys.readouterr().err
    assert CANARY not in told
    assert "told in words of ours" in told
    assert told.count("log_a_failure") == 2
    assert "builtins.ValueError" in told
    if form == "json":
        assert json.loads(told)["message"] == "something failed"


@pytest.mark.parametrize("form", ["text", "json"])
def test_at_debug_all_is_told(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug", form)
    log_a_failure()
    assert CANARY in capsys.readouterr().err


async def test_a_task_that_failed_unheard_is_told_without_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "text")
    loop = asyncio.get_running_loop()
    task = loop.create_task(asyncio.sleep(0))
    log_unretrieved(
        loop, {"message": "Task exception was never retrieved", "exception": ValueError(CANARY), "future": task}
    )
    told = capsys.readouterr().err
    assert "never retrieved" in told
    assert CANARY not in told
    await task


def test_what_a_line_says_is_in_fields_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logging.getLogger("celeriac").info("scaled to %d", 3, extra=fields(pool="shop/ml", after=3))
    entry = json.loads(capsys.readouterr().err)
    assert (entry["message"], entry["pool"], entry["after"]) == ("scaled to 3", "shop/ml", 3)
