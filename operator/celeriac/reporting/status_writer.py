"""Writes statuses, and tells what of them is news."""

import logging
import time
from datetime import UTC, datetime

from celeriac.api.notices import Teller
from celeriac.cluster.client import Api
from celeriac.cluster.errors import Conflict, NotFound
from celeriac.reporting.status_book import StatusBook
from celeriac.reporting.view import View
from celeriac.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class StatusWriter:
    """Carries out what its StatusBook says."""

    def __init__(self, api: Api, metrics: Metrics, teller: Teller, book: StatusBook) -> None:
        self._api = api
        self._metrics = metrics
        self._teller = teller
        self.book = book

    async def write(self, view: View) -> float:
        """Write the pool's status if it is time; the seconds after which to look again. Raises ApiError."""
        key, uid = view.known.key, view.known.uid
        step = self.book.step(view, datetime.now(UTC), time.monotonic())
        for condition in step.status["conditions"]:
            self._metrics.condition(key, condition["type"], condition["status"])
        if not step.write:
            return step.again_seconds
        if step.foreign:
            log.warning("pool %s: its status was not what the operator had written; it is written anew", key)
        try:
            await self._api.apply_pool_status(key, uid, step.status)
        except (NotFound, Conflict):
            return step.again_seconds  # deleted, or made anew under the same name: its own event brings it back
        for notice in self.book.written(view, step.status, time.monotonic()):
            level = logging.WARNING if notice.type == "Warning" else logging.INFO
            log.log(level, "pool %s: %s: %s", key, notice.reason, notice.message)
            self._teller.tell(notice)
        return step.again_seconds
