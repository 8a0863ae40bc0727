"""The one way from a received message to the pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery.worker import state as worker_state

from .celery_worker import CeleryWorker, is_known
from .drain import Drain
from .green import await_slot
from .outcomes import Outcomes
from .prefetch import Prefetch
from .prefork import is_lost_child
from .slots import Job, Slot, Slots
from .started import StartedMarks


class Gate:
    """Refuses to start anything while a mark is in force, and knows what was started."""

    def __init__(
        self,
        worker: CeleryWorker,
        slots: Slots,
        drain: Drain,
        started: StartedMarks,
        prefetch: Prefetch | None,
        outcomes: Outcomes | None,
    ) -> None:
        self._worker, self._slots, self._drain = worker, slots, drain
        self._started, self._prefetch, self._outcomes = started, prefetch, outcomes
        raw = worker.raw
        self._process_task, self._apply_async = raw._process_task, raw.pool.apply_async
        self._keeps_results = True
        self._uses_semaphore = raw.process_task != raw._process_task

    def install(self, *, watch: bool, futures: bool) -> None:
        """Put the gate in front of the pool; with `watch` it is told when a slot is taken and left.

        Without `futures` nothing is known of what waits in the executor of the threads pool: it runs, marked or not.
        """
        self._keeps_results = futures or not hasattr(self._worker.raw.pool, "executor")
        raw = self._worker.raw
        raw._process_task = self.pass_or_hold
        if not self._uses_semaphore:
            raw.process_task = self.pass_or_hold
        if watch:
            raw.pool.apply_async = self.apply_and_watch

    def pass_or_hold(self, request: Any) -> None:
        """Hand a request to the pool, or hold it until the loop gives it back."""
        drain, slots, tag = self._drain, self._slots, request.message.delivery_tag
        if self._worker.is_green():
            drain.at_gate.add(tag)
            try:
                await_slot(self._worker, drain)
            finally:
                drain.at_gate.discard(tag)
            if request not in worker_state.reserved_requests:
                return  # given back meanwhile
        if drain.is_closed():
            drain.held.add(tag)
            if self._uses_semaphore:
                self._worker.raw.hub.call_soon(self._worker.raw._quick_release)
            return
        slot = slots.enter(request)
        try:
            self._process_task(request)
        except BaseException:
            slots.leave(slot)
            raise
        if not is_known(request):
            slots.leave(slot)  # revoked, or run to its end

    def apply_and_watch(self, target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Like the pool's own, with callbacks that note when a slot is taken and left."""
        accept = options.get("accept_callback")
        slot = self._slots.passed.get(id(getattr(accept, "__self__", None)))
        if slot is None:
            return self._apply_foreign(target, args, kwargs, options)
        slot.run = None if self._outcomes is None else self._outcomes.run_of(slot.request, options)
        options.update(self._callbacks(slot, options if slot.run is None else slot.run.options))
        result = self._apply_async(target, args, kwargs, **options)
        slot.result = result if self._keeps_results else None
        return result

    def _apply_foreign(self, target: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        foreign, job = self._slots.foreign, Job()
        accept = options.get("accept_callback")

        def on_accept(*args: Any, **kwargs: Any) -> Any:
            job.runner = self._runner(job)
            return accept(*args, **kwargs) if accept else None

        def at_its_end(callback: Callable[..., Any] | None) -> Callable[..., Any]:
            def ended(*args: Any, **kwargs: Any) -> Any:
                foreign.discard(job)
                return callback(*args, **kwargs) if callback else None

            return ended

        options.update({name: at_its_end(options.get(name)) for name in ("callback", "error_callback")})
        options["accept_callback"] = on_accept
        foreign.add(job)
        try:
            result = self._apply_async(target, args, kwargs, **options)
        except BaseException:
            foreign.discard(job)
            raise
        job.result = result if self._keeps_results else None
        return result

    def _runner(self, job: Job) -> Any:
        """The greenlet that has just taken a job: eventlet's pool answers with none, gevent's does from the first."""
        if not self._worker.is_green():
            return None
        current = getattr(self._worker.raw.pool, "getcurrent", None)
        return current() if current is not None else job.result

    def _callbacks(self, slot: Slot, options: Mapping[str, Any]) -> dict[str, Any]:
        slots, prefork = self._slots, self._worker.is_prefork()
        accept, success, failure, timeout = (
            options.get(name) for name in ("accept_callback", "callback", "error_callback", "timeout_callback")
        )

        def on_accept(*args: Any, **kwargs: Any) -> Any:
            slots.accepted(slot, args[0] if args and prefork else None)
            slot.runner = self._runner(slot)
            try:
                return accept(*args, **kwargs) if accept else None
            finally:
                self._started.mark(slot)

        def on_success(*args: Any, **kwargs: Any) -> Any:
            slot.ending, succeeded = True, False
            try:
                result = success(*args, **kwargs) if success else None
                succeeded = bool(args) and isinstance(args[0], tuple) and not args[0][0]
                return result
            finally:
                self._left(slot, succeeded)

        def on_failure(exc_info: Any, *args: Any, **kwargs: Any) -> Any:
            if is_lost_child(getattr(exc_info, "exception", None)):
                slots.lost.add(slot.tag)
            slot.ending = True
            try:
                return failure(exc_info, *args, **kwargs) if failure else None
            finally:
                self._left(slot)

        def on_timeout(soft: bool, *args: Any, **kwargs: Any) -> Any:
            slot.ending = slot.ending or not soft
            try:
                return timeout(soft, *args, **kwargs) if timeout else None
            finally:
                if not soft:
                    slots.leave(slot)

        return {
            "accept_callback": on_accept,
            "callback": on_success,
            "error_callback": on_failure,
            "timeout_callback": on_timeout,
        }

    def _left(self, slot: Slot, succeeded: bool = False) -> None:
        """Note that a request has ended, and that there may be room for another."""
        self._slots.leave(slot, succeeded)
        if self._prefetch is not None:
            self._prefetch.ring()
