"""A refused write of the replicas is told once and tried ever more rarely."""

import pytest

from celeriac.autoscaling.scale_writer import BACKOFF_LAST_SECONDS, BACKOFF_LAST_UNAVAILABLE_SECONDS, Refusals
from celeriac.cluster.errors import ApiError, Forbidden, Unavailable
from tests.unit.builders.workers import KEY

pytestmark = pytest.mark.unit


NO = Forbidden(403, "Forbidden", "no")


def pauses_after(refusals: Refusals, error: ApiError, times: int) -> list[float]:
    """Seconds that each of so many refusals in a row is waited for."""
    now, pauses = 0.0, []
    for _ in range(times):
        refusals.note(KEY, error, now)
        begun = now
        while refusals.pauses(KEY, now):
            now += 0.5
        pauses.append(now - begun)
    return pauses


def test_a_pool_that_may_not_be_scaled_is_tried_ever_more_rarely_and_told_of_once() -> None:
    refusals = Refusals()
    assert refusals.note(KEY, NO, 0.0)
    assert pauses_after(refusals, NO, 8) == [2, 4, 8, 16, 32, *[BACKOFF_LAST_SECONDS] * 3]
    assert not refusals.note(KEY, NO, 0.0)
    assert refusals.note(KEY, Forbidden(403, "Forbidden", "another rule"), 0.0), "another reason is news"


def test_an_api_server_that_fails_is_tried_again_soon_however_long_it_has_failed() -> None:
    failure = Unavailable(500, "InternalError", "etcdserver: request timed out")
    assert pauses_after(Refusals(), failure, 6) == [1, 2, 4, *[BACKOFF_LAST_UNAVAILABLE_SECONDS] * 3]


def test_a_pool_that_need_not_be_scaled_any_more_is_as_good_as_one_that_was_never_refused() -> None:
    refusals = Refusals()
    refusals.note(KEY, NO, 0.0)
    assert refusals.forget(KEY)
    assert not refusals.forget(KEY)
    assert (refusals.message(KEY), refusals.pauses(KEY, 0.0)) == (None, False)
    refusals.note(KEY, NO, 10.0)
    assert not refusals.pauses(KEY, 11.0), "the first pause again"


def test_a_mark_that_is_refused_is_told_once_until_it_need_not_be_any_more() -> None:
    refusals = Refusals()
    assert refusals.note_mark(KEY, NO)
    assert not refusals.note_mark(KEY, NO)
    assert refusals.message(KEY) == f"no worker can be marked to drain: {NO}"
    refusals.note(KEY, NO, 0.0)
    assert refusals.message(KEY) == str(NO), "what cannot be scaled at all comes first"
    refusals.forget(KEY)
    assert refusals.forget_mark(KEY)
    assert (refusals.forget_mark(KEY), refusals.message(KEY)) == (False, None)
