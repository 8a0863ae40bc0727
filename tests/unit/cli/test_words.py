"""A pool in words: what `kubectl celery list` and `why` say."""

from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from celeriac.cli.words import UNSEEN, ago, as_read, explanation, pools_table, why

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def condition(type_: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-03-01T11:55:00Z",
    }


def a_pool(*conditions: dict[str, Any], spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "metadata": {"namespace": "shop", "name": "ml", "generation": 3},
        "spec": {"pool": "prefork", "concurrency": 8, "queues": ["a", "b"], **(spec or {})},
    }
    if status or conditions:
        body["status"] = {"observedGeneration": 3, "conditions": list(conditions), **status}
    return body


BUSY = a_pool(
    condition("Ready", "True", "Ready", "3 of 4 replicas are ready"),
    waiting=30,
    running=24,
    scheduled=1,
    readyReplicas=3,
    desiredReplicas=4,
    decision={"reason": "Backlog", "message": "30 wait and 24 run: 4 pods", "time": "2026-03-01T11:58:00Z"},
)


def text_of(pool: dict[str, Any]) -> str:
    return "\n".join(explanation(pool, NOW))


def lines_of(*pools: dict[str, Any], with_namespace: bool = False) -> list[list[str]]:
    console = Console(width=500)
    with console.capture() as capture:
        console.print(pools_table(list(pools), NOW, with_namespace=with_namespace))
    return [line.split() for line in capture.get().splitlines()]


def test_the_list_has_a_line_for_each_pool_in_order() -> None:
    other = a_pool()
    other["metadata"] |= {"namespace": "bank", "name": "zz"}
    header, first, second = lines_of(BUSY, other, with_namespace=True)
    assert header == ["NAMESPACE", "NAME", "POOL", "WAITING", "RUNNING", "READY/DESIRED", "WHY"]
    assert first[:6] == ["bank", "zz", "prefork", "-", "-", "-/-"]
    assert second[:6] == ["shop", "ml", "prefork", "30", "24", "3/4"]
    assert " ".join(second[6:]) == "30 wait and 24 run: 4 pods"


def test_square_brackets_in_a_message_are_shown_and_not_taken_for_markup() -> None:
    refused = condition("Ready", "False", "PodRefused", "volumes[0] [/bold] is unknown")
    assert "volumes[0] [/bold] is unknown" in " ".join(lines_of(a_pool(refused))[1])


def test_what_is_broken_comes_before_the_decision() -> None:
    broken = condition("Ready", "False", "ImagePullFailed", "2 pod(s): no such image")
    assert why(a_pool(broken, decision=BUSY["status"]["decision"]), NOW) == "ImagePullFailed: 2 pod(s): no such image"


def test_pods_that_only_start_are_no_trouble_to_report_instead_of_the_decision() -> None:
    starting = condition("Ready", "False", "PodsStarting", "0 of 4 replicas are ready")
    assert why(a_pool(starting, decision=BUSY["status"]["decision"]), NOW) == "30 wait and 24 run: 4 pods"


def test_a_pool_that_no_operator_has_seen_says_so() -> None:
    assert why(a_pool(), NOW) == UNSEEN
    assert UNSEEN in text_of(a_pool())


def test_the_explanation_tells_the_decision_its_age_and_the_numbers() -> None:
    text = text_of(BUSY)
    assert "ml in namespace shop: 3/4 replicas (ready/desired)" in text
    assert "prefork with 8 task(s) per pod, queues a, b" in text
    assert "30 waiting, 24 running, 1 scheduled" in text
    assert "Decision: Backlog, first 2 min ago\n  30 wait and 24 run: 4 pods" in text


def test_what_is_wrong_is_marked_and_what_is_unknown_too() -> None:
    text = text_of(
        a_pool(
            condition("BrokerReachable", "False", "TlsFailed", "bad certificate"),
            condition("ScalingActive", "Unknown", "NotReadYet", "not read yet"),
            condition("ScalingLimited", "False", "DesiredWithinRange", "in range"),
        )
    )
    assert "\n! BrokerReachable False, TlsFailed (5 min ago): bad certificate" in text
    assert "\n? ScalingActive Unknown, NotReadYet (5 min ago): not read yet" in text
    assert "\n  ScalingLimited False" in text


def test_what_somebody_asked_for_or_takes_its_time_is_not_marked_as_wrong() -> None:
    text = text_of(
        a_pool(
            condition("Ready", "False", "PodsStarting", "0 of 2 are ready"),
            condition("ScalingActive", "False", "Pinned", "pinned at 2"),
        )
    )
    assert "\n  Ready False, PodsStarting" in text
    assert "\n  ScalingActive False, Pinned" in text


def test_a_pin_a_mode_and_a_change_not_yet_seen_are_told_with_the_way_out() -> None:
    text = text_of(a_pool(spec={"replicas": 5, "scaling": {"mode": "Paused"}}, observedGeneration=2))
    assert "pinned to 5 by spec.replicas" in text
    assert "kubectl celery resume ml" in text
    assert "kubectl celery unpause ml" in text
    assert "has not seen the latest change" in text


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-03-01T11:59:57Z", "3 s ago"),
        ("2026-03-01T11:58:01Z", "119 s ago"),
        ("2026-03-01T11:58:00Z", "2 min ago"),
        ("2026-03-01T09:00:00Z", "3 h ago"),
        ("2026-02-20T12:00:00Z", "9 d ago"),
        ("2026-03-01T12:00:05Z", "0 s ago"),
        (None, "at an unknown time"),
    ],
)
def test_ages_are_rounded_as_kubectl_rounds_them(moment: str | None, words: str) -> None:
    assert ago(moment, NOW) == words


def test_a_moment_in_a_sentence_is_told_as_it_is_to_whoever_reads_it() -> None:
    due = "0 after 300 s of nothing waiting: at 2026-03-01T12:00:41Z"
    assert as_read(due, NOW) == "0 after 300 s of nothing waiting: in 41 s, at 2026-03-01T12:00:41Z"
    assert (
        as_read("failing since 2026-03-01T11:55:00Z: look", NOW)
        == "failing since 2026-03-01T11:55:00Z (5 min ago): look"
    )
    assert as_read("until 2026-03-01T14:00:00Z", NOW) == "until 2026-03-01T14:00:00Z (in 2 h)"
    assert as_read("at 2026-99-01T14:00:00Z", NOW) == "at 2026-99-01T14:00:00Z"
    pool = a_pool(decision={"reason": "ZeroPending", "message": due, "time": "2026-03-01T11:58:00Z"})
    assert "in 41 s, at" in text_of(pool)
    assert "in 41 s, at" in why(pool, NOW)


def test_what_is_wrong_beside_a_pool_that_works_is_named_behind_its_decision() -> None:
    pool = a_pool(
        condition("Ready", "True", "Ready", "3 of 4 replicas are ready"),
        condition("BrokerDurable", "False", "KeysMayBeEvicted", "..."),
        condition("WorkersResponding", "False", "WorkerSilent", "ml-1 (for over 30 s) of 2 ready workers"),
        condition("DrainLongEnough", "Unknown", "NoTimeLimit", "..."),
        decision={"reason": "Backlog", "message": "30 wait", "time": "2026-03-01T11:58:00Z"},
    )
    assert why(pool, NOW) == "30 wait (KeysMayBeEvicted, WorkerSilent: kubectl celery why ml)"
    assert "! WorkersResponding False, WorkerSilent" in text_of(pool)
