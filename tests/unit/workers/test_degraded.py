"""What an agent cannot do that its level promises is told: which hook, where, in which versions, and what of it."""

from dataclasses import replace

import pytest

from celeriac.brokers.agents import WorkerReport
from celeriac.reporting.status import MESSAGE_LIMIT
from celeriac.workers.degraded import Degradation, degradation_of
from celeriac.workers.observer import Observer
from tests.unit.builders.workers import pod, report

pytestmark = pytest.mark.unit

VERSIONS = (("Celery", "5.6.3"), ("kombu", "5.7.0"), ("redis-py", "8.1.0"), ("Python", "3.12.1"))


def degradation(*reports: WorkerReport) -> Degradation | None:
    pods = [pod(each.pod_uid) for each in reports]
    return degradation_of(Observer().observe(pods, {each.pod_uid: each for each in reports}, {}, 4, 0.0))


def lacking(uid: str = "b", can: tuple[str, ...] = (), *hooks: str, level: str = "drain") -> WorkerReport:
    return report(uid, capabilities=frozenset(can), missing=hooks, level=level, versions=VERSIONS)


def test_workers_whose_agents_can_do_all_are_not_told() -> None:
    assert degradation(report("a"), report("b", missing=("keep-running",))) is None


@pytest.mark.parametrize(
    ("level", "can"), [("report", ()), ("inflight", ("inflight",)), ("drain", ("inflight", "drain", "exact"))]
)
def test_a_level_is_not_asked_for_what_it_does_not_claim(level: str, can: tuple[str, ...]) -> None:
    assert degradation(lacking("b", can, level=level)) is None
    if can:
        assert degradation(lacking("b", can[1:], "deliver", level=level)) is not None


def test_it_names_the_hook_the_pods_and_their_versions_what_does_not_hold_and_the_cure() -> None:
    found = degradation(report("a"), lacking("c", ("exact",), "transport-options"), lacking("b", (), "deliver"))
    assert found is not None
    assert (found.pods, found.of) == (("ml-b", "ml-c"), 3)
    assert found.hooks == {"transport-options": 1, "deliver": 1}
    for words in (
        *("ml-b, ml-c (2 of 3 workers; Celery 5.6.3, kombu 5.7.0, redis-py 8.1.0, Python 3.12.1)",),
        *("misses deliver, transport-options", "the app's own visibility timeout", "cannot drain", "is an estimate"),
        *("ack_emulation", "use Celery 5.3 to 5.7", "spec.agent"),
    ):
        assert words in str(found), words


def test_a_cure_is_that_of_the_hook() -> None:
    refused = degradation(lacking("b", ("exact",), "registry"))
    assert refused is not None
    assert "ACL" in str(refused)
    assert "Celery 5.3" not in str(refused)


def test_what_an_acl_refuses_is_told_as_its_rule_would_have_it() -> None:
    poor = replace(lacking("b", ("exact",), "registry"), refused=("HGET", "~unacked*"))
    found = degradation(poor, replace(poor, pod_uid="c", refused=("EVAL", "~unacked*")))
    assert "Redis refuses +hget, ~unacked*, +eval to the workers' ACL user: celeriac acl" in str(found)


def test_a_pool_of_a_thousand_workers_is_told_within_the_bounds_of_a_condition() -> None:
    reports = [
        report(
            f"{number:04}",
            capabilities=frozenset(),
            missing=(*tuple(f"hook-{number}-{each}" for each in range(9)), "x" * 300, "Drop <table>"),
            versions=(("Celery", f"5.6.{number}"),),
        )
        for number in range(1000)
    ]
    found = degradation(*reports)
    assert found is not None
    assert len(found.hooks) <= 20
    assert not any("x" in hook or "<" in hook for hook in found.hooks)
    assert "ml-0000, ml-0001, ml-0002 and 997 more" in str(found)
    assert len(str(found)) < 2 * MESSAGE_LIMIT


def test_a_worker_that_would_end_in_a_full_redis_is_told_though_it_has_all_capabilities() -> None:
    found = degradation(report("a"), report("b", missing=("refusals",)))
    assert found is not None
    assert (found.pods, found.lacking) == (("ml-b",), frozenset({"refusals"}))
    assert "the message that it has just taken is lost" in str(found)


def test_the_app_is_the_cause_where_it_lets_redis_keep_nothing() -> None:
    found = degradation(lacking("a", ("exact",), "ack-emulation"))
    assert "drop ack_emulation" in str(found)
    assert "is none that the agent knows" not in str(found)
