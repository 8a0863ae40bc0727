"""Takes CeleryPoolRequests as they come, answers each in its status, and deletes it a minute later.

The API server has authorised who asks; what may be asked about is a pool of the request's own namespace.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

from celeriac.answering.answers import Answers, failure
from celeriac.answering.request import Request
from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.cluster.body import Body
from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError, Conflict, Expired, NotFound
from celeriac.cluster.paths import CELERY_POOL_REQUESTS
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.setbacks import LAST_PAUSE_SECONDS, Setbacks
from celeriac.watching.streams import Stream
from celeriac.watching.workqueue import WorkQueue

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Requests that are answered at the same time."""
OPEN_IN_A_NAMESPACE: Final = 100
"""Further ones are refused, and nothing of what they ask for is kept."""
KEPT_SECONDS: Final = 60.0
"""An answer stands for so long; a request that is asked anew lives on."""
LONGEST_RETRY_SECONDS: Final = 5.0


class Desk:
    """Answers requests while it has the authority."""

    def __init__(
        self,
        api: Api,
        answers: Answers,
        authority: Authority,
        metrics: Metrics,
        namespaces: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`namespaces`: those that are watched; empty for the whole cluster."""
        self._api = api
        self._answers = answers
        self._authority = authority
        self._metrics = metrics
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._clock = clock
        self.open: dict[PoolKey, Request] = {}
        """Requests that are there."""
        self._deadline: dict[PoolKey, float] = {}
        self._number: Counter[str] = Counter()
        """Of requests that are there, by namespace."""
        self._line: WorkQueue[PoolKey] = WorkQueue()

    async def run(self) -> None:
        """Answer for ever."""
        async with asyncio.TaskGroup() as group:
            for namespace in self._namespaces:
                group.create_task(self._follow(namespace))
            for _ in range(AT_ONCE):
                group.create_task(self._line.run(self._answer, self._failed))

    def take_over(self) -> None:
        """This operator leads from now on: what is open is its own to answer."""
        for key in self.open:
            self._line.add(key)

    async def _follow(self, namespace: str | None) -> None:
        """Hear of the requests of one namespace, for ever."""
        setbacks = Setbacks("requests are not answered: they could not be listed")
        while True:
            try:
                listing = await self._api.list_cached(CELERY_POOL_REQUESTS, namespace, "", 0)
                self._replace(namespace, list(listing))
                setbacks.over()
                failed = partial(self._metrics.watch_failure, "requests")
                stream = Stream(self._api.connection, CELERY_POOL_REQUESTS, namespace, self.take, selector="")
                await stream.follow(listing.version, failed)
            except Expired:
                continue
            except NotFound as error:
                cure = "the CRD celerypoolrequests.celeriac.dev is not installed: apply crds/ for kubectl celery"
                setbacks.note(NotFound(error.status, error.reason, cure), time.monotonic())
                await asyncio.sleep(LAST_PAUSE_SECONDS)
            except Exception as error:
                await asyncio.sleep(setbacks.note(error, time.monotonic()))

    def _replace(self, namespace: str | None, bodies: Sequence[Body]) -> None:
        """Take over a full list."""
        listed = {PoolKey(body["metadata"]["namespace"], body["metadata"]["name"]) for body in bodies}
        for key in [key for key in self.open if key not in listed and namespace in (None, key.namespace)]:
            self._forget(key)
        for body in bodies:
            self.take(body, deleted=False)

    def take(self, body: Body, *, deleted: bool) -> None:
        """Take over an event."""
        key = PoolKey(body["metadata"]["namespace"], body["metadata"]["name"])
        if deleted:
            self._forget(key)
            return
        try:
            request = Request.from_body(body)
        except (ValueError, TypeError, LookupError) as error:
            log.warning("request %s cannot be read, and is left alone: %s", key, type(error).__name__)
            return
        before = self.open.get(key)
        if before is None:
            self._number[key.namespace] += 1
        if self._number[key.namespace] > OPEN_IN_A_NAMESPACE:
            request = request.as_one_too_many()
        if before is None or before.uid != request.uid or before.round != request.round:
            self._deadline[key] = self._clock() + KEPT_SECONDS
        self.open[key] = request
        self._line.add(key)

    def _forget(self, key: PoolKey) -> None:
        if self.open.pop(key, None) is not None:
            self._number[key.namespace] -= 1
            self._number += Counter()  # without those that have none
        self._deadline.pop(key, None)
        self._line.forget(key)

    async def _answer(self, key: PoolKey) -> None:
        request = self.open.get(key)
        if request is None or not self._authority.may_act or not self._answers.is_ours(request):
            return
        left = self._deadline[key] - self._clock()
        if left <= 0:
            await self._delete(request)
            return
        self._line.add_after(key, left)
        if request.is_answered:
            return
        status = await self._status(request)
        try:
            await self._api.apply_request_status(key, request.uid, {"round": request.round, **status})
        except (NotFound, Conflict):
            return  # whoever asked has gone
        if self.open.get(key) is request:
            self.open[key] = replace(request, answered=request.round)

    async def _status(self, request: Request) -> dict[str, Any]:
        """What is answered; a fault of the operator's own is answered, too."""
        if request.is_one_too_many:
            cure = f"{OPEN_IN_A_NAMESPACE} at most: delete some, or wait a minute until they go"
            return {"phase": "Failed", "message": f"too many requests are in this namespace, {cure}"}
        try:
            message, result = await self._answers.to(request)
        except Exception as error:
            failed = failure(error)
            if failed is None:
                log.exception("request %s: no answer, by a fault of the operator", request.key)
                return {"phase": "Failed", "message": f"a fault of the operator ({type(error).__name__}): see its log"}
            return dict(failed)
        return {"phase": "Done", "message": message, "result": result}

    async def _delete(self, request: Request) -> None:
        namespace, name = request.key
        with suppress(NotFound, Conflict):
            await self._api.delete(CELERY_POOL_REQUESTS, namespace, name, uid=request.uid)
        self._forget(request.key)

    def _failed(self, key: PoolKey, error: Exception) -> float:
        if not isinstance(error, ApiError):
            log.error("request %s: a fault of the operator", key, exc_info=error)
        elif key in self.open:
            log.warning("request %s could not be answered: %s; it is tried again", key, error)
        return LONGEST_RETRY_SECONDS
