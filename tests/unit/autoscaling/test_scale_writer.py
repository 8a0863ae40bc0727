"""A refused write of the replicas is told once and tried ever more rarely."""

import pytest

from celeriac.autoscaling.scale_writer import BACKOFF_LAST_SECONDS, Refusals
from tests.unit.builders.workers import KEY

pytestmark = pytest.mark.unit


def test_a_pool_that_may_not_be_scaled_is_tried_ever_more_rarely_and_told_of_once() -> None:
    refusals, now, told, pauses = Refusals(), 0.0, [], []
    for _ in range(9):
        told.append(refusals.note(KEY, "Forbidden: no", now))
        begun = now
        while refusals.pauses(KEY, now):
            now += 0.5
        pauses.append(now - begun)
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == BACKOFF_LAST_SECONDS
    assert told == [True, *[False] * 8]
    assert refusals.note(KEY, "Forbidden: another rule", now), "another reason is news"


def test_a_pool_that_need_not_be_scaled_any_more_is_as_good_as_one_that_was_never_refused() -> None:
    refusals = Refusals()
    refusals.note(KEY, "Forbidden: no", 0.0)
    assert refusals.forget(KEY)
    assert not refusals.forget(KEY)
    assert (refusals.message(KEY), refusals.pauses(KEY, 0.0)) == (None, False)
    refusals.note(KEY, "Forbidden: no", 10.0)
    assert not refusals.pauses(KEY, 11.0), "the first pause again"
