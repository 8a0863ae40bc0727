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
"""Answers of each kind; the oldest are forgotten first."""
REVIEWS_PER_SECOND: Final = 10
OF_ONE_PER_SECOND: Final = 5
"""From one address: whoever shows tokens without end leaves some of the reviews to others."""
AT_ONCE: Final = 2
"""Reviews under way: anybody may show a token, and the operator's other requests wait in the same line."""


class Readers:
    """Those who may `get` a path that is no resource, by TokenReview and SubjectAccessReview.

    Who was allowed before is asked about again in a lane of his own, which strangers do not fill.
    """

    def __init__(self, api: Api, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._path = path
        self._clock = clock
        self._allowed: dict[bytes, float] = {}
        """By a hash of the token: until when that is believed. It stays for longer."""
        self._refused: dict[bytes, float] = {}
        self._strangers, self._known = _Lane(OF_ONE_PER_SECOND), _Lane(REVIEWS_PER_SECOND)

    async def may_read(self, token: str, address: str) -> bool:
        """Whether its holder may, who asks from this address.

        Raises ApiError where nobody can say: no answer, or too many new tokens.
        """
        key = hashlib.sha256(token.encode()).digest()
        if (known := self._remembered(key)) is not None:
            return known
        lane = self._known if key in self._allowed else self._strangers
        async with lane.slots:
            if (known := self._remembered(key)) is not None:  # somebody with the same token was faster
                return known
            lane.spend(address, self._clock())
            allowed = await self._ask(token)
            self._remember(key, allowed=allowed)
            return allowed

    def _remembered(self, key: bytes) -> bool | None:
        now = self._clock()
        if now < self._allowed.get(key, now):
            return True
        return False if now < self._refused.get(key, now) else None

    def _remember(self, key: bytes, *, allowed: bool) -> None:
        self._allowed.pop(key, None)
        self._refused.pop(key, None)
        answers, patience = (self._allowed, ALLOWED_SECONDS) if allowed else (self._refused, REFUSED_SECONDS)
        answers[key] = self._clock() + patience
        while len(answers) > KEPT:
            del answers[next(iter(answers))]

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


class _Lane:
    """How many reviews are made: a few at once, a few in a second, and of those not all for one address."""

    def __init__(self, of_one: int) -> None:
        self.slots = asyncio.Semaphore(AT_ONCE)
        self._of_one = of_one
        self._spent: deque[tuple[float, str]] = deque()

    def spend(self, address: str, now: float) -> None:
        """Count one more. Raises Unavailable where there were enough in the last second."""
        while self._spent and now - self._spent[0][0] >= 1.0:
            self._spent.popleft()
        of_this = sum(each == address for _, each in self._spent)
        if len(self._spent) >= REVIEWS_PER_SECOND or of_this >= self._of_one:
            raise Unavailable(0, "TooManyReviews", "too many new tokens in this second")
        self._spent.append((now, address))
