import pytest
from prometheus_client.exposition import generate_latest

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.readings import QueueReading
from celeriac.telemetry.broker_label import UNREADABLE_BROKER, broker_label
from celeriac.telemetry.metrics import Direction, Metrics

pytestmark = pytest.mark.unit

ML = PoolKey("shop", "ml")
MAIL = PoolKey("shop", "mail")


def value(metrics: Metrics, name: str, key: PoolKey | None = None, **labels: str) -> float | None:
    pool = {"namespace": key.namespace, "pool": key.name} if key else {}
    return metrics.registry.get_sample_value(f"celeriac_{name}", pool | labels)


def fill(metrics: Metrics, key: PoolKey) -> None:
    metrics.pool(key, desired=4, replicas=3, ready=2, slots=12, running=7)
    metrics.queues(key, {"fast": QueueReading(waiting=20, held=7, scheduled=1), "slow": QueueReading(waiting=1)})
    metrics.condition(key, "Ready", "True")
    metrics.decision(key, Reason.BACKLOG)
    metrics.scale(key, Direction.UP, 3)


def test_a_pools_figures_are_read_back_as_they_were_said() -> None:
    metrics = Metrics()
    fill(metrics, ML)
    assert value(metrics, "pool_desired_replicas", ML) == 4
    assert value(metrics, "pool_replicas", ML) == 3
    assert value(metrics, "pool_ready_replicas", ML) == 2
    assert value(metrics, "pool_slots", ML) == 12
    assert value(metrics, "pool_running_tasks", ML) == 7
    assert value(metrics, "queue_waiting_tasks", ML, queue="fast") == 20
    assert value(metrics, "queue_held_tasks", ML, queue="fast") == 7
    assert value(metrics, "queue_scheduled_tasks", ML, queue="fast") == 1
    assert value(metrics, "pool_decisions_total", ML, reason=Reason.BACKLOG) == 1
    assert value(metrics, "pool_scaled_pods_total", ML, direction="up") == 3


def test_both_directions_exist_before_the_first_scaling_so_that_rate_sees_it() -> None:
    metrics = Metrics()
    metrics.pool(ML, desired=0, replicas=0, ready=0, slots=0, running=0)
    assert value(metrics, "pool_scaled_pods_total", ML, direction="down") == 0


def test_only_the_last_decision_has_a_series_while_all_are_counted() -> None:
    metrics = Metrics()
    for reason in (Reason.BACKLOG, Reason.WITHIN_TARGET):
        metrics.decision(ML, reason)
    assert value(metrics, "pool_decision", ML, reason=Reason.WITHIN_TARGET) == 1
    assert value(metrics, "pool_decision", ML, reason=Reason.BACKLOG) is None
    assert value(metrics, "pool_decisions_total", ML, reason=Reason.BACKLOG) == 1


def test_a_pool_that_scales_by_tasks_per_slot_has_no_wait_to_be_held_against() -> None:
    metrics = Metrics()
    metrics.pool(ML, desired=0, replicas=0, ready=0, slots=0, target_wait=10, revision=3)
    assert value(metrics, "pool_target_wait_seconds", ML) == 10
    assert value(metrics, "pool_revision", ML) == 3
    metrics.pool(ML, desired=0, replicas=0, ready=0, slots=0)
    assert value(metrics, "pool_target_wait_seconds", ML) is None


def test_a_condition_has_exactly_one_status() -> None:
    metrics = Metrics()
    for status in ("True", "Unknown", "False"):
        metrics.condition(ML, "BrokerReachable", status)
    found = {
        each: value(metrics, "pool_condition", ML, type="BrokerReachable", status=each)
        for each in ("True", "False", "Unknown")
    }
    assert found == {"True": 0, "False": 1, "Unknown": 0}


def test_a_broker_that_cannot_be_read_leaves_a_gap_not_a_zero() -> None:
    metrics = Metrics()
    fill(metrics, ML)
    metrics.queues_unknown(ML)
    assert value(metrics, "queue_waiting_tasks", ML, queue="fast") is None
    assert value(metrics, "pool_running_tasks", ML) is None
    assert value(metrics, "pool_replicas", ML) == 3


def test_running_tasks_that_are_not_known_have_no_series() -> None:
    metrics = Metrics()
    fill(metrics, ML)
    metrics.pool(ML, desired=4, replicas=3, ready=2, slots=12)
    assert value(metrics, "pool_running_tasks", ML) is None


def test_a_queue_taken_off_a_pool_disappears_and_the_others_stay() -> None:
    metrics = Metrics()
    fill(metrics, ML)
    metrics.queues(ML, {"fast": QueueReading(waiting=5)})
    assert value(metrics, "queue_waiting_tasks", ML, queue="slow") is None
    assert value(metrics, "queue_waiting_tasks", ML, queue="fast") == 5


def test_a_deleted_pool_leaves_no_series_and_its_neighbour_keeps_all() -> None:
    metrics = Metrics()
    fill(metrics, ML)
    fill(metrics, MAIL)
    before = generate_latest(metrics.registry).decode().count('pool="mail"')
    metrics.forget(ML)
    after = generate_latest(metrics.registry).decode()
    assert 'pool="ml"' not in after
    assert after.count('pool="mail"') == before


def test_a_replica_that_loses_the_lease_stops_speaking_of_pools() -> None:
    metrics = Metrics()
    metrics.leader(True)
    fill(metrics, ML)
    metrics.leader(False)
    assert 'pool="ml"' not in generate_latest(metrics.registry).decode()
    fill(metrics, ML)
    metrics.queues(ML, {})
    assert value(metrics, "queue_waiting_tasks", ML, queue="fast") is None


def test_pools_may_come_and_go_while_a_scrape_is_read() -> None:
    metrics = Metrics()
    fill(metrics, ML)
    fill(metrics, MAIL)
    seen = set()
    for family in metrics.registry.collect():
        for sample in family.samples:
            seen.add(sample.labels.get("pool"))
            metrics.forget(MAIL)
            metrics.decision(ML, str(len(seen)))
            fill(metrics, PoolKey("shop", f"new-{len(seen)}"))
    assert {"ml", "mail"} <= seen


def test_forgetting_a_pool_that_was_never_seen_is_no_error() -> None:
    Metrics().forget(ML)


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("redis://redis:6379/0", "redis:6379/0"),
        ("redis://:s3cret@redis.shop.svc:6379/1", "redis.shop.svc:6379/1"),
        ("rediss://celery:s3cret@10.0.0.7:6380", "10.0.0.7:6380"),
        ("redis://celery:s3%40cret@[fd00::7]:6379/0", "[fd00::7]:6379/0"),
        ("redis://:s3@cret@redis:6379/0", "redis:6379/0"),
        ("redis://redis:6379/0?password=s3cret", "redis:6379/0"),
        ("redis+socket:///run/redis.sock?virtual_host=0&password=s3cret", "/run/redis.sock"),
        ("sentinel://:s3cret@a:26379;sentinel://:s3cret@b:26379/0", "a:26379,b:26379/0"),
        ("redis://redis:6379/0?password=s3@cret", UNREADABLE_BROKER),
        ("redis://celery:123/s3cret@redis:6379/0", UNREADABLE_BROKER),
        ("redis://celery:s3;cret@redis:6379/0", "redis:6379/0"),
        ("redis://:s3cret", UNREADABLE_BROKER),
        ("redis://[s3cret", UNREADABLE_BROKER),
        ("s3cret", UNREADABLE_BROKER),
        (f"redis://{'h' * 4000}", UNREADABLE_BROKER),
        ("", UNREADABLE_BROKER),
    ],
)
def test_no_part_of_a_credential_becomes_a_label(url: str, label: str) -> None:
    assert broker_label(url) == label
    metrics = Metrics()
    metrics.broker_read(url, 0.002, reason=Reason.BROKER_TIMEOUT)
    assert "cret" not in generate_latest(metrics.registry).decode()


def test_a_broker_that_nobody_uses_any_more_is_forgotten() -> None:
    metrics = Metrics()
    metrics.broker_read("redis://:one@old:6379/0", 0.002, reason=Reason.BROKER_LOADING)
    metrics.broker_read("redis://new:6379/0", 0.002)
    metrics.forget_broker("redis://:two@old:6379/0")
    assert value(metrics, "broker_read_duration_seconds_count", broker="old:6379/0") is None
    assert value(metrics, "broker_read_failures_total", broker="old:6379/0", reason="Loading") is None
    assert value(metrics, "broker_read_duration_seconds_count", broker="new:6379/0") == 1


def test_the_operators_own_health_is_counted() -> None:
    metrics = Metrics()
    metrics.tick(0.004)
    metrics.api_request("patch", "deployments/scale", 409, 0.02)
    metrics.reconcile(0.3, "success")
    metrics.leader(True)
    metrics.workqueue(5)
    assert value(metrics, "tick_duration_seconds_count") == 1
    assert value(metrics, "api_requests_total", verb="patch", resource="deployments/scale", code="409") == 1
    assert value(metrics, "api_request_duration_seconds_sum", verb="patch", resource="deployments/scale") == 0.02
    assert value(metrics, "reconcile_duration_seconds_count", outcome="success") == 1
    assert value(metrics, "leader") == 1
    assert value(metrics, "workqueue_depth") == 5


def test_two_operators_in_one_process_do_not_share_a_registry() -> None:
    one, other = Metrics(), Metrics()
    one.leader(True)
    assert value(other, "leader") == 0
