"""Whether the holder of a token may read a path of the operator's own: the API server says it, kept for a while."""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from celeriac.cluster.client import Api
from celeriac.cluster.errors import Unavailable
from celeriac.cluster.paths import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, Resource

ALLOWED_SECONDS: Final = 60.0
REFUSED_SECONDS: Final = 10.0
KEPT: Final = 1024
"""Answers; the oldest are forgotten first."""
REVIEWS_PER_SECOND: Final = 10
AT_ONCE: Final = 2
"""Reviews under way: anybody may show a token, and the operator's other requests wait in the same line."""


class Readers:
    """Those who may `get` a path that is no resource, by TokenReview and SubjectAccessReview."""

    def __init__(self, api: Api, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._path = path
        self._clock = clock
        self._known: dict[bytes, tuple[bool | None, float]] = {}
        """By a hash of the token: whether it may, and until when that is believed."""
        self._asked: deque[float] = deque()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def may_read(self, token: str) -> bool:
        """Whether its holder may. Raises ApiError where nobody can say: no answer, or too many new tokens."""
        key = hashlib.sha256(token.encode()).digest()
        if (known := self._remembered(key)) is not None:
            return known
        async with self._slots:
            if (known := self._remembered(key)) is not None:  # somebody with the same token was faster
                return known
            self._spend()
            allowed = await self._ask(token)
            self._known.pop(key, None)
            self._known[key] = (allowed, self._clock() + (ALLOWED_SECONDS if allowed else REFUSED_SECONDS))
            while len(self._known) > KEPT:
                del self._known[next(iter(self._known))]
            return allowed

    def _remembered(self, key: bytes) -> bool | None:
        allowed, until = self._known.get(key, (None, 0.0))
        return allowed if self._clock() < until else None

    def _spend(self) -> None:
        now = self._clock()
        while self._asked and now - self._asked[0] >= 1.0:
            self._asked.popleft()
        if len(self._asked) >= REVIEWS_PER_SECOND:
            raise Unavailable(0, "TooManyReviews", f"more than {REVIEWS_PER_SECOND} new tokens in a second")
        self._asked.append(now)

    async def _ask(self, token: str) -> bool:
        seen = await self._review(TOKEN_REVIEWS, "TokenReview", {"token": token})
        if not seen.get("authenticated"):
            return False
        user = seen.get("user") or {}
        subject = {key: user[key] for key in ("uid", "groups", "extra") if user.get(key)}
        asked = subject | {
            "user": user.get("username", ""),
            "nonResourceAttributes": {"path": self._path, "verb": "get"},
        }
        return bool((await self._review(SUBJECT_ACCESS_REVIEWS, "SubjectAccessReview", asked)).get("allowed"))

    async def _review(self, resource: Resource, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The status of a review; it is not kept by the API server."""
        body = {"apiVersion": resource.api_version, "kind": kind, "spec": spec}
        collection = resource.collection(None)
        answer = await self._api.connection.request("create", resource.plural, collection, body=body)
        return answer.get("status") or {}
