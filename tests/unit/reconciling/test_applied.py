"""What is to be done of a pool's children, in virtual time."""

from dataclasses import replace

import pytest

from celeriac.api.reasons import Reason
from celeriac.cluster.errors import ApiError, Forbidden, Invalid, NameTaken, StillGoing, Unavailable
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.model import WorkerPool
from celeriac.reconciling.applied import (
    AGENT_SECONDS,
    REFUSED_RETRY_SECONDS,
    STILL_GOING_SECONDS,
    AppliedBook,
    Source,
    Task,
    Work,
)
from tests.unit.builders.pools import pool
from tests.unit.builders.workers import KEY, pod

pytestmark = pytest.mark.unit

POOL = pool()
SOURCE = Source.of(POOL, url_has_query=False)
FORBIDDEN = Forbidden(403, "Forbidden", "a policy says no")


def live(fingerprint: str = "as applied") -> DeploymentRecord:
    return DeploymentRecord(KEY, "d", 1, 1, 1, 1, 1, 1, controller_uid=POOL.uid, fingerprint=fingerprint)


def work(
    book: AppliedBook,
    now: float,
    *pods: PodRecord,
    of: WorkerPool = POOL,
    source: Source = SOURCE,
    deployment: DeploymentRecord | None = None,
) -> Work:
    return book.work(of, source, deployment, pods, now)


def an_applied_book() -> AppliedBook:
    book = AppliedBook()
    book.applied(KEY, SOURCE, "as applied")
    return book


def test_a_deployment_that_is_as_it_was_applied_costs_no_request() -> None:
    book = an_applied_book()
    for now in range(0, 3600, 10):
        assert work(book, now, pod(), deployment=live()) == Work(Task.NOTHING)


def test_a_deployment_that_somebody_changed_or_deleted_is_put_right() -> None:
    book = an_applied_book()
    assert work(book, 0.0, deployment=live("edited")).task is Task.APPLY
    assert work(book, 0.0, deployment=None).task is Task.RECREATE, "its pool may be gone too"


def test_nobody_asks_for_a_pool_whose_first_deployment_is_made() -> None:
    assert work(AppliedBook(), 0.0, deployment=None).task is Task.CREATE
    anew = replace(SOURCE, uid="made anew")
    assert work(an_applied_book(), 0.0, source=anew, of=replace(POOL, uid="made anew")).task is Task.CREATE


def test_another_spec_another_secret_and_another_pool_of_the_name_are_applied() -> None:
    book = an_applied_book()
    for source in (
        replace(SOURCE, generation=2),
        replace(SOURCE, url_has_query=True),
        replace(SOURCE, uid="made anew"),
    ):
        assert work(book, 0.0, source=source, deployment=live()).task is Task.APPLY


def test_what_was_refused_is_offered_again_after_a_while_and_the_refusal_stands_meanwhile() -> None:
    book = AppliedBook()
    refused = book.failed(KEY, SOURCE, FORBIDDEN, 100.0)
    assert refused.refusal is not None
    assert refused == Work(Task.HOLD, refused.refusal, REFUSED_RETRY_SECONDS)
    assert work(book, 110.0) == replace(refused, again_seconds=5.0)
    assert work(book, 110.0, deployment=live("of before")) == replace(refused, again_seconds=5.0)
    assert work(book, 115.0).task is Task.CREATE
    assert work(book, 110.0, source=replace(SOURCE, generation=2)).task is Task.CREATE, "the spec was corrected"


def test_a_refusal_that_stays_is_told_in_the_same_words_and_one_that_was_mended_is_forgotten() -> None:
    book = AppliedBook()
    first = book.failed(KEY, SOURCE, FORBIDDEN, 0.0)
    assert book.failed(KEY, SOURCE, FORBIDDEN, 15.0) == first
    book.applied(KEY, SOURCE, "as applied")
    assert work(book, 16.0, pod(), deployment=live()) == Work(Task.NOTHING)


def test_a_pool_made_anew_waits_for_the_garbage_collector_and_tells_of_no_trouble() -> None:
    book = AppliedBook()
    going = StillGoing(409, "NameTaken", "Deployment shop/ml belongs to an earlier owner and is being deleted")
    for now in (0.0, 2.0, 4.0):
        assert work(book, now).task is Task.CREATE
        assert book.failed(KEY, SOURCE, going, now) == Work(Task.NOTHING, None, STILL_GOING_SECONDS)
    assert work(book, 4.1).task is Task.CREATE, "at once when the watch tells that it is gone"


def test_an_answer_that_is_not_about_the_manifest_is_for_the_queue_and_leaves_what_was_applied() -> None:
    book = an_applied_book()
    for error in (Unavailable(503, "ServiceUnavailable", "no"), ApiError(409, "Conflict", "scaled meanwhile")):
        with pytest.raises(ApiError) as raised:
            book.failed(KEY, SOURCE, error, 0.0)
        assert raised.value is error
    assert work(book, 0.0, pod(), deployment=live()) == Work(Task.NOTHING)


def test_while_a_pod_waits_its_agent_is_looked_for_now_and_then() -> None:
    book, waiting = an_applied_book(), pod(phase="Pending", running=False, ready=False)
    looks = [now for now in range(31) if work(book, now, waiting, deployment=live()).task is Task.LOOK]
    assert looks == [0, 5, 10, 15, 20, 25, 30]
    assert work(book, 31.0, waiting, deployment=live()).again_seconds == AGENT_SECONDS - 1


def test_nobody_looks_for_an_agent_where_no_pod_waits_for_one() -> None:
    book, waiting = an_applied_book(), pod(phase="Pending", running=False, ready=False)
    plain = pool(agent=False)
    assert work(book, 0.0, pod(), deployment=live()).task is Task.NOTHING
    assert work(book, 0.0, replace(waiting, terminating=True), deployment=live()).task is Task.NOTHING
    assert work(book, 0.0, waiting, of=plain, deployment=live()).task is Task.NOTHING


def test_a_forgotten_pool_is_applied_as_if_it_had_never_been() -> None:
    book = an_applied_book()
    book.forget(KEY)
    assert work(book, 0.0, deployment=live()).task is Task.APPLY


@pytest.mark.parametrize(
    ("error", "reason", "cure"),
    [
        (NameTaken(409, "NameTaken", "Deployment team/ml exists; delete it"), Reason.NAME_TAKEN, "delete it"),
        (Forbidden(403, "Forbidden", "a policy says no"), Reason.APPLY_FAILED, "mend what forbids it"),
        (ApiError(400, "BadRequest", "wrong type"), Reason.APPLY_FAILED, "correct spec.template"),
        (Invalid(422, "Invalid", "spec.template: no"), Reason.APPLY_FAILED, "correct spec.template"),
    ],
)
def test_a_refusal_says_what_to_do(error: ApiError, reason: Reason, cure: str) -> None:
    refusal = AppliedBook().failed(KEY, SOURCE, error, 0.0).refusal
    assert refusal is not None
    assert (refusal.type, refusal.status, refusal.reason) == ("Ready", "False", reason)
    assert cure in refusal.message
