"""Logging of the operator: one line per record, as text or as JSON."""

import asyncio
import json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

log = logging.getLogger(__name__)

FIELDS = "celeriac_fields"
"""Attribute of a record: what its sentence says, for programs."""


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """The `extra` of a record whose line of JSON has these fields, too."""
    return {FIELDS: values}


class TextFormatter(logging.Formatter):
    """One line per record, and below it where an exception came from.

    What an exception says may be what a foreign server has said, so it is told at DEBUG only, or where the words are
    the operator's own.
    """

    def __init__(self, *, all_words: bool = False) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._all_words = all_words

    def formatException(self, ei: Any) -> str:
        """The traceback, and those of the causes."""
        if self._all_words:
            return super().formatException(ei)
        return "\n".join(_placed(error) for error in reversed(list(_chain(ei[1]))))


class JsonFormatter(TextFormatter):
    """One JSON object per line: time, level, logger, message, `fields`, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def log_unretrieved(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio has to say of a task that failed unheard; its own words repeat the exception's."""
    error = context.get("exception")
    log.error("a fault of the operator that nobody has awaited: %s", context.get("message"), exc_info=error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _placed(error: BaseException) -> str:
    """Where an exception was raised, and its words where they are the operator's own."""
    kind = type(error)
    words = str(error) if kind.__module__.split(".")[0] == "celeriac" else "its words are told at log level DEBUG"
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{kind.__module__}.{kind.__qualname__}: {words}"


def configure_logging(level: str, form: str) -> None:
    """Log to standard error from `level` on; kopf's own words only from WARNING on, unless at DEBUG."""
    handler = logging.StreamHandler(sys.stderr)
    kind = JsonFormatter if form == "json" else TextFormatter
    handler.setFormatter(kind(all_words=level.upper() == "DEBUG"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level.upper() != "DEBUG":
        for noisy in ("kopf", "asyncio", "kubernetes"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
