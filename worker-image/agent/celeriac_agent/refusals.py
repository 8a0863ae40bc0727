"""Redis answers a write with an error: what that means, and for how long it is left alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from queue import Empty
from typing import Any

import redis
from celery.utils.log import get_logger

logger = get_logger("celeriac")

PAUSE_SECONDS = 1.0  # from a refused write to the next try
CONNECT, FETCH, TAKE, ACKNOWLEDGE, REPORT = "connect", "fetch", "take", "acknowledge", "report"
FULL = "OOM"  # maxmemory is reached, and nothing may be dropped
ELSEWHERE = frozenset(
    {"READONLY", "MASTERDOWN", "UNBLOCKED"}
)  # the master is another server: only a new connection helps
PASSING = ELSEWHERE | {FULL, "MISCONF", "NOREPLICAS", "BUSY", "LOADING", "CLUSTERDOWN", "TRYAGAIN"}
"""What ends by itself, or by what a person does to Redis. Other errors are those of the application or its user."""

_NAMED = {
    "OutOfMemoryError": FULL,
    "ReadOnlyError": "READONLY",
    "NoPermissionError": "NOPERM",
    "MasterDownError": "MASTERDOWN",  # this and the others from redis-py 6 on
    "ClusterDownError": "CLUSTERDOWN",
    "TryAgainError": "TRYAGAIN",
    "ClusterCrossSlotError": "CROSSSLOT",
    "MovedError": "MOVED",
    "AskError": "ASK",
}
_BEFORE = "of pipeline caused error: "  # redis-py's words, behind the command and what it was to write
# At the beginning, behind EXECABORT, and behind a place in a script before Redis 7.
_CODE = re.compile(
    r"(?:Transaction discarded because of: |(?:ERR )?Error running script \(.*: -|)([A-Z][A-Z0-9]{1,19})\b"
)


def code_of(error: BaseException) -> str:
    """The word by which Redis names an error; redis-py takes it off the text where it has a class for it."""
    for kind in type(error).__mro__:
        if kind.__name__ in _NAMED:
            return _NAMED[kind.__name__]
    found = _CODE.match(str(error).rpartition(_BEFORE)[2])
    return found.group(1) if found else "ERR"


def passes(error: BaseException) -> bool:
    """Whether Redis has refused a write for a reason that ends."""
    return isinstance(error, redis.exceptions.ResponseError) and code_of(error) in PASSING


def lost_to(error: BaseException) -> Exception | None:
    """The loss of the connection that an error of Redis amounts to: its server does not write, and another does."""
    if code_of(error) not in ELSEWHERE:
        return None
    return redis.exceptions.ConnectionError(f"Redis is not the master any more ({code_of(error)})")


class Refusals:
    """What Redis refuses now. All methods but `tell` may be called from any thread."""

    def __init__(self) -> None:
        self._codes: dict[str, str] = {}  # by what was to be written
        self._told: str | None = None
        self._again = 0.0  # monotonic seconds

    @property
    def code(self) -> str | None:
        """The word for it; None while Redis takes what is written."""
        return next(iter(list(self._codes.values())), None)

    def note(self, what: str, error: BaseException) -> None:
        """Redis has refused it."""
        self._codes[what] = code_of(error)

    def over(self, what: str) -> None:
        """Redis has taken it."""
        self._codes.pop(what, None)

    def wait(self) -> None:
        """Leave Redis alone for a while."""
        self._again = time.monotonic() + PAUSE_SECONDS

    def is_time(self) -> bool:
        """Whether the next try is due."""
        return time.monotonic() >= self._again

    def tell(self) -> None:
        """Log what has begun or ended since: by the worker's loop alone, as other threads must not log."""
        code = self.code
        if code == self._told:
            return
        if code is None:
            logger.info("Redis takes what the worker writes again")
        else:
            logger.warning("Redis refuses what the worker writes (%s): no message is lost, all is tried again", code)
        self._told = code


def fetch_unless_refused(raw: Any, refusals: Refusals, waits: Callable[[], bool]) -> None:
    """Fetch nothing while something `waits`; an error is no message, unless another server is the master now."""
    read, start = raw._brpop_read, raw._brpop_start

    def _brpop_read(**options: Any) -> Any:
        try:
            result = read(**options)
        except redis.exceptions.ResponseError as error:
            refusals.note(FETCH, error)
            refusals.wait()
            raise lost_to(error) or Empty() from None
        except Empty:
            refusals.over(FETCH)
            raise
        refusals.over(FETCH)
        return result

    def _brpop_start(*args: Any, **kwargs: Any) -> Any:
        return None if waits() or not refusals.is_time() else start(*args, **kwargs)

    raw._brpop_read = raw.handlers["BRPOP"] = _brpop_read
    raw._brpop_start = _brpop_start


def outlast_refusals(consumer: Any, refusals: Refusals) -> None:
    """Let Celery connect again where Redis refuses something else that it writes, rather than end the worker.

    Celery's own list of errors after which it does so is by classes, which do not part what passes from what stays.
    """
    blueprint = consumer.blueprint
    start = blueprint.start

    def start_or_connect_again(*args: Any, **kwargs: Any) -> Any:
        try:
            return start(*args, **kwargs)
        except redis.exceptions.ResponseError as error:
            if not passes(error):
                raise
            refusals.note(CONNECT, error)
            refusals.tell()
            time.sleep(PAUSE_SECONDS)
            raise redis.exceptions.ConnectionError(f"Redis refuses to write ({code_of(error)})") from None

    blueprint.start = start_or_connect_again


def discard_without_result(app: Any) -> None:
    """Let revoked and expired tasks go where Redis refuses their results: they are in the way of all that wait.

    Celery would not acknowledge them, and a pool of processes would lose the slot that was to run them. The result
    backend is that of the thread that calls this, which is the worker's loop.
    """
    backend = app.backend
    mark = backend.mark_as_revoked

    def mark_as_revoked(*args: Any, **kwargs: Any) -> Any:
        try:
            return mark(*args, **kwargs)
        except redis.exceptions.ResponseError as error:
            if not passes(error):
                raise
            return None

    backend.mark_as_revoked = mark_as_revoked
