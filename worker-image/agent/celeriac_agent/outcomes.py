"""How tasks end, and how long they waited and ran: told by Celery's own requests in this process, for every pool.

A task's arguments, results and exceptions are not looked at, but for the kind of exception by which Celery itself parts
a retry and a rejection from a failure. A task is counted by the name that it is registered by: a shadow's name may hold
anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from celery import signals
from celery.exceptions import Ignore, Reject, Retry

from .celery_worker import CeleryWorker
from .counters import Counters
from .hooks import Hooks
from .tally import FAILED, REJECTED, RETRIED, REVOKED, SUCCEEDED, Tally

EVENTS = {"task-succeeded": SUCCEEDED, "task-failed": FAILED, "task-retried": RETRIED, "task-rejected": REJECTED}
PUBLISHED = "celeriac_published"  # header, Unix time: of messages that workers with the agent send
TOLD_BY = (PUBLISHED, "sentry-task-enqueued-time")
FIRST_TIME, MOST_AHEAD = 1e9, 86400.0  # what is earlier, or so many seconds in the future, is no Unix time


class Outcomes:
    """Counts every request that passes the gate, and those that end before it."""

    def __init__(self, worker: CeleryWorker, tally: Tally, counters: Counters) -> None:
        self._worker, self._tally, self._counters = worker, tally, counters

    def listen(self) -> None:
        """Hear of tasks that end without the pool, and say of messages that are sent from here when that was."""
        for signal, receiver in (
            (signals.task_revoked, self._revoked),
            (signals.task_unknown, self._unknown),
            (signals.task_rejected, self._not_understood),
            (signals.before_task_publish, stamp),
        ):
            signal.connect(receiver, weak=False)

    def run_of(self, request: Any, options: Mapping[str, Any]) -> Run | None:
        """What counts the end of a request that is given to the pool with these options; None where it cannot."""
        try:
            return Run(request, self._tally, self._counters, options)
        except Exception as error:
            self._counters.failed("count a task", error)
            return None

    def _revoked(self, sender: Any = None, **_: Any) -> None:
        self._count(getattr(sender, "name", None), REVOKED)

    def _unknown(self, sender: Any = None, name: Any = None, **_: Any) -> None:
        if sender is getattr(self._worker.raw, "consumer", sender):
            self._count(name, FAILED)

    def _not_understood(self, sender: Any = None, message: Any = None, **_: Any) -> None:
        if sender is getattr(self._worker.raw, "consumer", sender):
            headers = getattr(message, "headers", None)
            self._count(headers.get("task") if isinstance(headers, dict) else None, REJECTED)

    def _count(self, name: Any, state: str) -> None:
        try:
            self._tally.ended(name, state)
        except Exception as error:
            self._counters.failed("count a task", error)


def outcomes_of(worker: CeleryWorker, hooks: Hooks, tally: Tally, counters: Counters) -> Outcomes | None:
    """What counts how tasks end, where that can be heard."""
    if not hooks.have("task-counts", "apply-async"):
        return None
    outcomes = Outcomes(worker, tally, counters)
    outcomes.listen()
    return outcomes


class Run:
    """One request in the pool: it is counted once, whoever tells first that it has ended.

    `options` are those of the pool's apply_async, with callbacks that count.
    """

    def __init__(self, request: Any, tally: Tally, counters: Counters, options: Mapping[str, Any]) -> None:
        self._request, self._name = request, request.task.name
        self._tally, self._counters = tally, counters
        self._send_event = request.send_event
        self._given = {name: options.get(name) for name in ("callback", "error_callback")}
        self._accept, self._timeout = options.get("accept_callback"), options.get("timeout_callback")
        self._began: float | None = None  # monotonic seconds
        self._said: list[str] = []  # states, by the events that Celery would send
        self._is_over = False
        request.send_event = self.send_event
        self.options = {
            **options,
            "accept_callback": self.on_accept,
            "callback": self.on_success,
            "error_callback": self.on_failure,
            "timeout_callback": self.on_timeout,
        }

    def send_event(self, type: str, **fields: Any) -> Any:
        """In place of the request's own, which does nothing where events are off."""
        if type in EVENTS:
            self._said.append(EVENTS[type])
        elif type == "task-revoked":
            self._is_over = True  # the signal tells of it
        return self._send_event(type, **fields)

    def on_accept(self, *args: Any, **kwargs: Any) -> Any:
        """A slot of the pool has taken it."""
        self._attempt(self._start, args)
        return self._accept(*args, **kwargs) if self._accept else None

    def on_success(self, *args: Any, **kwargs: Any) -> Any:
        """The pool has its result, which may be an exception."""
        try:
            given = self._given["callback"]
            return given(*args, **kwargs) if given else None
        finally:
            self._attempt(self._end, args)
            self._let_go()

    def on_failure(self, *args: Any, **kwargs: Any) -> Any:
        """The pool has none: the child died, or it took too long."""
        try:
            given = self._given["error_callback"]
            return given(*args, **kwargs) if given else None
        finally:
            self._attempt(self._end, args)
            self._let_go()

    def on_timeout(self, soft: bool, *args: Any, **kwargs: Any) -> Any:
        """A time limit has passed; with a hard one the pool has mostly told of the failure before."""
        try:
            return self._timeout(soft, *args, **kwargs) if self._timeout else None
        finally:
            if not soft and not self._worker_ends():
                self._attempt(self._count, FAILED, self._seconds())

    def vanished(self) -> None:
        """Its thread or greenlet has ended, and nobody was called: what it raised is no Exception."""
        self._attempt(self._count, FAILED, self._seconds())
        self._let_go()

    def _start(self, args: tuple[Any, ...]) -> None:
        now = time.monotonic()
        since = args[1] if len(args) > 1 and isinstance(args[1], (int, float)) else now
        self._began = min(since, now)
        due = due_at(self._request)
        if due is not None:
            self._tally.waited(self._name, max(time.time() - (now - self._began) - due, 0.0))

    def _end(self, args: tuple[Any, ...]) -> None:
        outcome = args[0] if args else None
        failed, result, seconds = outcome if isinstance(outcome, tuple) and len(outcome) == 3 else (True, outcome, None)
        state = state_of(self._said, exception_of(result)) if failed else SUCCEEDED
        self._count(state, seconds if isinstance(seconds, (int, float)) else self._seconds())

    def _count(self, state: str | None, seconds: float | None) -> None:
        over, self._is_over = self._is_over, True
        if state is not None and not over:
            self._tally.ended(self._name, state, None if state == REJECTED else seconds)

    def _seconds(self) -> float | None:
        return None if self._began is None else time.monotonic() - self._began

    def _let_go(self) -> None:
        """The request and this hold each other: what a task was given would stay until Python looks for garbage."""
        request, self._request = self._request, None
        if request is not None:
            request.__dict__.pop("send_event", None)

    def _worker_ends(self) -> bool:
        from celery.worker import state

        return state.should_terminate not in (None, False)

    def _attempt(self, do: Any, *args: Any) -> None:
        try:
            do(*args)
        except Exception as error:
            self._counters.failed("count a task", error)


def exception_of(result: Any) -> Any:
    """The exception in what a pool gives for a task that has not succeeded: billiard and Celery wrap it."""
    exception = getattr(result, "exception", result)
    return getattr(exception, "exc", exception) if type(exception).__name__ == "ExceptionWithTraceback" else exception


def state_of(said: list[str], exception: Any) -> str | None:
    """The one state of a run that did not succeed; None where nothing has ended for whoever sent it.

    A rejection is the task's own word, whatever else Celery says of it (from 5.7 on also a failure). A task that fails
    and whose message is rejected for that has failed. One that was stopped is told of elsewhere, as revoked.
    """
    if isinstance(exception, Reject):
        return REJECTED
    if isinstance(exception, Ignore):
        return None
    if isinstance(exception, Retry):
        return RETRIED
    for state in (SUCCEEDED, FAILED, RETRIED, REJECTED):
        if state in said:
            return state
    # Celery raises these from its handlers and says nothing; Terminated, and the end of the worker, are no failure.
    escaped = isinstance(exception, (SystemExit, KeyboardInterrupt)) or type(exception).__name__ == "WorkerLostError"
    return FAILED if escaped else None


def due_at(request: Any) -> float | None:
    """The Unix time from which a task could be started: when it was sent, or its ETA; None where nobody tells.

    It is the clock of whoever sent it.
    """
    eta = _eta_of(request)
    headers = request.request_dict
    properties = headers.get("properties")
    told = [properties.get("timestamp") if isinstance(properties, dict) else None]
    told += [headers.get(name) for name in TOLD_BY]
    published = next((moment for moment in map(_unix_time, told) if moment is not None), None)
    return published if eta is None else max(eta, published or eta)


def _eta_of(request: Any) -> float | None:
    eta = request.eta
    try:
        return None if eta is None else _unix_time(eta.timestamp())
    except (ValueError, OverflowError, OSError):
        return None


def _unix_time(value: Any) -> float | None:
    """A number, also as text, that can be the time of a message; None for what cannot."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        moment = float(value)
    except (ValueError, OverflowError):
        return None
    return moment if math.isfinite(moment) and FIRST_TIME <= moment <= time.time() + MOST_AHEAD else None


def stamp(headers: Any = None, **_: Any) -> None:
    """Say in a message that is sent from this process when that was."""
    if isinstance(headers, dict):
        headers[PUBLISHED] = time.time()
