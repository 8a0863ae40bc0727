"""Sends the report, and takes the drain mark."""

from __future__ import annotations

import json
import threading
import time

import redis

from .celery_worker import CeleryWorker
from .channel import TaskChannel
from .counters import Counters
from .drain import Drain
from .hooks import Hooks
from .refusals import CONNECT, ELSEWHERE, FETCH, REPORT, Refusals, code_of
from .registry import STOP, STOP_ONE, Registry
from .report import Report
from .sampler import Sampler
from .tally import Tally
from .times import BACK_OFF_SECONDS, REPORT_SECONDS, SOCKET_SECONDS, TICK_SECONDS
from .unwritten import Unwritten


class Heartbeat:
    """Beats: one round trip to Redis each, from the worker's loop or from a thread of its own."""

    def __init__(
        self,
        worker: CeleryWorker,
        hooks: Hooks,
        registry: Registry,
        drain: Drain,
        report: Report,
        sampler: Sampler,
        counters: Counters,
        refusals: Refusals,
        unwritten: Unwritten,
        tally: Tally,
    ) -> None:
        self._worker, self._hooks, self._registry = worker, hooks, registry
        self._drain, self._report, self._counters = drain, report, counters
        self._sampler, self._refusals, self._unwritten, self._tally = sampler, refusals, unwritten, tally
        self.channel: TaskChannel | None = None  # of the latest connection
        self.thread: threading.Thread | None = None
        self._next = 0.0
        self._stop = threading.Event()

    def due(self) -> bool:
        """Whether it is time for the next beat."""
        return self.channel is not None and not self._stop.is_set() and time.monotonic() >= self._next

    def beat(self) -> None:
        """Report, and take the drain mark; an unreachable Redis is left alone for a while."""
        begun = time.monotonic()
        try:
            hurried = self._report_and_obey()
            self._next = begun + (TICK_SECONDS if hurried else REPORT_SECONDS)
        except Exception as error:
            self._report.was_quiet, self._report.held = False, None
            if isinstance(error, redis.exceptions.ResponseError):
                self._refused(error)
            self._counters.failed("report", error)
            slow = time.monotonic() - begun > SOCKET_SECONDS / 2
            self._next = time.monotonic() + (BACK_OFF_SECONDS if slow else REPORT_SECONDS)

    def _report_and_obey(self) -> bool:
        """Make one round trip; tells whether the next is urgent, because the operator waits for the drain."""
        drain, report = self._drain, self._report
        quiet = self.channel is not None and drain.is_quiet(self.channel)
        counts = self._tally.batch() if self._registry.registered else None
        made = report.make(self.channel, quiet)
        beat = self._registry.beat(json.dumps(made, allow_nan=False), counts)
        mark, report.held = beat.mark, beat.held
        if counts is not None:
            self._tally.answered(counts, beat.counted)
        if beat.refusal is None:
            self._refusals.over(REPORT)
            self._refusals.over(CONNECT)
            self._unwritten.settled()
            if drain.token:
                self._refusals.over(FETCH)  # it does not fetch, and would not hear
        else:
            self._refused(beat.refusal)
        if not beat.found and self._registry.registered and not self._stop.is_set():
            self._registry.register(self._worker.queues())
        if mark and mark.startswith(STOP_ONE):
            mark = mark if mark.startswith(f"{STOP_ONE}{self._registry.identity.process}-") else None
        if mark and mark.startswith(STOP):
            self._worker.stop()
        report.was_quiet = quiet
        if self._hooks.drain and drain.obey(mark):
            report.was_quiet = False
        return bool(drain.token) and made["state"] != "drained"

    def _refused(self, error: Exception) -> None:
        self._refusals.note(REPORT, error)
        if code_of(error) in ELSEWHERE:
            self._registry.dial_anew()

    def start_thread(self) -> None:
        """Beat from a daemon thread from now on: the worker's loop will be blocked."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, name="celeriac-report", daemon=True)
            self._counters.log_nothing_from(self.thread)
            self.thread.start()

    def stop(self) -> None:
        """End the thread, whose last beat is waited for, and write what was counted since."""
        self._stop.set()
        if self.thread is not None:
            self.thread.join(2 * SOCKET_SECONDS)

        try:
            self._write_counts()
        except Exception as error:
            self._counters.failed("write what it counts of tasks", error)

    def _write_counts(self) -> None:
        for _ in range(2):  # a batch that was not answered, and what has come since
            counts = self._tally.batch() if self._registry.registered else None
            if counts is not None:
                self._registry.add(counts)
                self._tally.answered(counts, None)

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS / 2):
            self._sampler.look()
            if self.due():
                self.beat()
