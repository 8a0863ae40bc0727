"""Whose tokens the API server is asked about, and how often; in virtual time, where one token is good."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest

from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError
from celeriac.cluster.reviews import ALLOWED_SECONDS, KEPT, OF_ONE_PER_SECOND, REVIEWS_PER_SECOND, Readers

pytestmark = pytest.mark.unit

GOOD, PROMETHEUS, STRANGER = "good", "10.0.0.1", "10.0.0.2"


class Reviews:
    """Says that the token `good` is somebody's who may read; counts what it is asked."""

    def __init__(self) -> None:
        self.now, self.asked = 0.0, 0
        self.readers = Readers(cast(Api, SimpleNamespace(connection=self)), "/metrics", lambda: self.now)

    async def request(self, *_: object, body: dict[str, Any], **__: object) -> dict[str, Any]:
        self.asked += 1
        good = body["spec"].get("token", GOOD) == GOOD
        return {"status": {"authenticated": good, "user": {"username": "prometheus"}, "allowed": good}}

    async def flood(self, tokens: int, address: str = STRANGER) -> int:
        """How many of these new tokens the API server was asked about."""
        before = self.asked
        for number in range(tokens):
            with suppress(ApiError):
                assert not await self.readers.may_read(f"{address} {self.now} {number}", address)
        return self.asked - before


async def test_strangers_cost_few_reviews_and_leave_some_to_others() -> None:
    reviews = Reviews()
    assert await reviews.flood(100) == OF_ONE_PER_SECOND
    assert await reviews.readers.may_read(GOOD, PROMETHEUS)
    left = REVIEWS_PER_SECOND - OF_ONE_PER_SECOND - 1
    assert sum([await reviews.flood(100, f"10.0.1.{number}") for number in range(20)]) == left
    reviews.now += 1.0
    assert await reviews.flood(100) == OF_ONE_PER_SECOND


async def test_who_may_read_is_asked_about_again_whatever_strangers_show_meanwhile() -> None:
    """For so long that all their tokens would have pushed his out; from their address, too."""
    reviews = Reviews()
    assert await reviews.readers.may_read(GOOD, STRANGER)
    while reviews.now < 2 * KEPT / REVIEWS_PER_SECOND + ALLOWED_SECONDS:
        for number in range(3):
            await reviews.flood(10, f"10.0.1.{number}")
        assert await reviews.readers.may_read(GOOD, STRANGER)
        reviews.now += 1.0


async def test_an_answer_is_kept_for_a_while_and_a_token_that_is_revoked_is_refused_then() -> None:
    reviews = Reviews()
    assert await reviews.readers.may_read(GOOD, PROMETHEUS)
    assert await reviews.readers.may_read(GOOD, PROMETHEUS)
    assert not await reviews.readers.may_read("bad", PROMETHEUS)
    assert not await reviews.readers.may_read("bad", PROMETHEUS)
    assert reviews.asked == 3, "two for the good one, one for the bad one"
