"""parse_pool: defaults, every field, and no body that makes it fail with anything but InvalidPool."""

from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.pool.model import (
    Agent,
    BrokerSpec,
    InvalidPool,
    PodSecurity,
    PoolType,
    QueueLayout,
    SecretKey,
    TlsSecrets,
    WorkerOptions,
    WorkerPool,
)
from celeriac.pool.parse import parse_pool
from celeriac.scaling.policy import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    Behavior,
    Fallback,
    Mode,
    Policy,
    PolicyType,
    QueueWaitTarget,
    RatePolicy,
    ScalingRules,
    SelectPolicy,
    Strategy,
    TasksPerSlotTarget,
)
from tests.unit.pool.bodies import ODD, Body, Path, dotted, full, minimal, nodes, replaced, variants

pytestmark = pytest.mark.unit

PASSWORD = "hunter2"


def test_a_minimal_pool_gets_the_defaults_even_if_the_api_server_set_none() -> None:
    assert parse_pool(minimal()) == WorkerPool(
        key=PoolKey("shop", "ml"),
        uid="6f1d",
        generation=3,
        image="registry.example/app:1.4",
        app="proj.celery:app",
        broker=BrokerSpec(url="redis://redis:6379/0"),
        policy=Policy(
            slots=4,
            min_replicas=0,
            max_replicas=20,
            target=QueueWaitTarget(10),
            scale_to_zero_after_seconds=300,
            behavior=Behavior(DEFAULT_SCALE_UP, DEFAULT_SCALE_DOWN),
        ),
        queues=("celery",),
        pool_type=PoolType.PREFORK,
        concurrency=4,
        launcher=("python",),
        drain_timeout_seconds=3600,
        agent=Agent.DRAIN,
        max_attempts=5,
    )


def rolling(**fields: object) -> Body:
    return {"rollingUpdate": fields}


def test_every_field_arrives() -> None:
    pool = parse_pool(full())
    secret = SecretKey("broker", "url")
    rules = ScalingRules(
        stabilization_window_seconds=30,
        tolerance=0.05,
        select_policy=SelectPolicy.MIN,
        policies=(RatePolicy(PolicyType.PERCENT, 50, 60), RatePolicy(PolicyType.PODS, 4, 15)),
    )
    assert pool.queues == ("images", "videos")
    assert pool.launcher == ("tini", "--", "python")
    assert pool.broker == BrokerSpec(
        url_from=secret,
        layout=QueueLayout(key_prefix="shop:", separator=":", priority_steps=(0, 5)),
        tls=TlsSecrets(ca=secret, certificate=secret, private_key=secret),
    )
    assert pool.policy == Policy(
        slots=8,
        min_replicas=1,
        max_replicas=50,
        target=TasksPerSlotTarget(2),
        scale_to_zero_after_seconds=60,
        behavior=Behavior(rules, rules),
        fallback=Fallback(after_seconds=90, replicas=5),
        mode=Mode.DRY_RUN,
        pinned_replicas=3,
        strategy=Strategy(max_surge=1, max_unavailable="10%"),
    )
    assert pool.worker == WorkerOptions(1, 100, 200_000, 50, 60, None, True, "DEBUG", ("--disable-prefetch",))
    assert (pool.drain_timeout_seconds, pool.pod_security) == (120, PodSecurity.RESTRICTED)
    assert not pool.rollout_on_secret_change
    assert (pool.agent, pool.max_attempts) == (Agent.DISABLED, 3)
    assert pool.template.labels == {"team": "vision"}
    assert pool.template.annotations == {"example.com/note": "x"}
    assert pool.template.spec == full()["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("word", "agent"),
    [
        (None, Agent.DRAIN),
        ("enabled", Agent.DRAIN),
        ("drain", Agent.DRAIN),
        ("inflight", Agent.INFLIGHT),
        ("report", Agent.REPORT),
        ("disabled", Agent.DISABLED),
    ],
)
def test_each_level_of_the_agent_includes_those_below_it(word: str | None, agent: Agent) -> None:
    pool = parse_pool(minimal(**({} if word is None else {"agent": word})))
    assert pool.agent is agent
    reports, keeps, drains = bool(pool.agent), pool.agent.keeps, pool.agent.drains
    assert (reports, keeps, drains) == {
        Agent.DRAIN: (True, True, True),
        Agent.INFLIGHT: (True, True, False),
        Agent.REPORT: (True, False, False),
        Agent.DISABLED: (False, False, False),
    }[agent]


@pytest.mark.parametrize("wanted", [None, True, False])
def test_what_the_app_says_of_lost_children_stands_unless_the_spec_says_something(wanted: bool | None) -> None:
    spec = {} if wanted is None else {"worker": {"rejectOnWorkerLost": wanted}}
    assert parse_pool(minimal(**spec)).worker.reject_on_worker_lost is wanted


@pytest.mark.parametrize(("pool_type", "slots"), [("solo", 1), ("prefork", 4), ("threads", 4), ("gevent", 4)])
def test_a_pod_has_one_slot_with_solo_and_four_otherwise(pool_type: str, slots: int) -> None:
    pool = parse_pool(minimal(pool=pool_type))
    assert (pool.concurrency, pool.policy.slots) == (slots, slots)


def test_one_direction_of_behavior_leaves_the_other_at_its_default() -> None:
    pool = parse_pool(minimal(scaling={"behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}}))
    assert pool.policy.behavior.scale_up == DEFAULT_SCALE_UP
    assert pool.policy.behavior.scale_down == ScalingRules(stabilization_window_seconds=5, tolerance=0.1)


@pytest.mark.parametrize(
    ("written", "read"), [(0.05, 0.05), (1, 1), ("50m", 0.05), ("0.05", 0.05), ("5e-2", 0.05), (".5", 0.5), ("0", 0)]
)
def test_a_tolerance_is_any_quantity_as_in_an_hpa(written: object, read: float) -> None:
    pool = parse_pool(minimal(scaling={"behavior": {"scaleUp": {"tolerance": written}}}))
    assert pool.policy.behavior.scale_up.tolerance == pytest.approx(read)


def test_a_null_counts_as_absent_as_it_does_for_the_api_server() -> None:
    assert parse_pool(minimal(replicas=None, scaling=None, template={"spec": {"env": None}})) == parse_pool(minimal())


@pytest.mark.parametrize(
    ("spec", "field", "cure"),
    [
        ({"image": None}, "spec.image", "set it"),
        ({"pool": "celery"}, "spec.pool", "prefork"),
        ({"pool": "solo", "concurrency": 4}, "spec.concurrency", "1 or absent"),
        ({"pool": "custom"}, "spec.customPool", "set both or neither"),
        ({"customPool": "a:B"}, "spec.customPool", "set both or neither"),
        ({"queues": []}, "spec.queues", "drop the field"),
        ({"queues": ["a", "a"]}, "spec.queues[1]", "once"),
        ({"queues": ["a,b"]}, "spec.queues[0]", "its own entry"),
        ({"queues": ["a", "b\x00"]}, "spec.queues[1]", "control characters"),
        ({"queues": ["a", "\x1b[31mb"]}, "spec.queues[1]", "control characters"),
        ({"broker": {"url": "redis://r", "keyPrefix": "a\r\nFLUSHALL\r\n"}}, "spec.broker.keyPrefix", "line ends"),
        ({"broker": {"url": "redis://r", "separator": "\r\nQUIT\r\n"}}, "spec.broker.separator", "line ends"),
        ({"broker": {"url": "redis://r\n"}}, "spec.broker.url", "control characters"),
        (
            {"broker": {"url": "sentinel://r", "sentinelMaster": "a\u2028b"}},
            "spec.broker.sentinelMaster",
            "control characters",
        ),
        ({"launcher": []}, "spec.launcher", "drop the field"),
        ({"strategy": {"type": "Canary"}}, "spec.strategy.type", "RollingUpdate, Recreate"),
        ({"strategy": {"type": "Recreate", "rollingUpdate": {}}}, "spec.strategy.rollingUpdate", "drop it"),
        ({"strategy": rolling(maxSurge=0)}, "spec.strategy.rollingUpdate", "set maxUnavailable to 1"),
        ({"strategy": rolling(maxSurge="0%", maxUnavailable=0)}, "spec.strategy.rollingUpdate", "maxUnavailable"),
        ({"strategy": rolling(maxSurge="half")}, "spec.strategy.rollingUpdate.maxSurge", "percentage"),
        ({"strategy": rolling(maxSurge=True)}, "spec.strategy.rollingUpdate.maxSurge", "not a boolean"),
        ({"strategy": rolling(maxUnavailable="101%")}, "spec.strategy.rollingUpdate.maxUnavailable", '"100%"'),
        ({"broker": None}, "spec.broker", "missing"),
        ({"broker": {}}, "spec.broker", "exactly one of url and urlFrom"),
        ({"broker": {"urlFrom": {"secretKeyRef": {"key": "url"}}}}, "spec.broker.urlFrom.secretKeyRef.name", "set it"),
        ({"broker": {"url": f"redis://:{PASSWORD}@redis"}}, "spec.broker.url", "Secret"),
        ({"broker": {"url": f"redis://redis/0?password={PASSWORD}"}}, "spec.broker.url", "Secret"),
        ({"broker": {"url": "amqp://rabbit"}}, "spec.broker.url", "redis://"),
        ({"broker": {"url": "sentinel://a"}}, "spec.broker.sentinelMaster", "set both"),
        ({"broker": {"url": "redis://a", "sentinelMaster": "m"}}, "spec.broker.sentinelMaster", "set both"),
        ({"broker": {"url": "redis://a", "prioritySteps": [3, 0]}}, "spec.broker.prioritySteps", "ascend from 0"),
        ({"broker": {"url": "redis://a", "prioritySteps": []}}, "spec.broker.prioritySteps", "ascend from 0"),
        ({"broker": {"url": "redis://a", "separator": ""}}, "spec.broker.separator", "drop it"),
        ({"broker": {"url": "redis://a", "tls": {}}}, "spec.broker.tls", "rediss://"),
        (
            {"broker": {"url": "rediss://a", "tls": {"certificateFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}}},
            "spec.broker.tls",
            "together",
        ),
        ({"scaling": {"minReplicas": 30}}, "spec.scaling.minReplicas", "maxReplicas (20)"),
        ({"scaling": {"target": {}}}, "spec.scaling.target", "exactly one"),
        ({"scaling": {"target": {"tasksPerSlot": 1, "queueWaitSeconds": 1}}}, "spec.scaling.target", "remove"),
        ({"scaling": {"fallback": {}}}, "spec.scaling.fallback.replicas", "missing"),
        ({"scaling": {"fallback": {"replicas": 21}}}, "spec.scaling.fallback.replicas", "maxReplicas (20)"),
        ({"scaling": {"behavior": {"scaleUp": {"policies": []}}}}, "spec.scaling.behavior.scaleUp.policies", "drop it"),
        (
            {"scaling": {"behavior": {"scaleUp": {"tolerance": "1Ki"}}}},
            "spec.scaling.behavior.scaleUp.tolerance",
            "0.1",
        ),
        ({"worker": {"logLevel": "LOUD"}}, "spec.worker.logLevel", "WARNING"),
        ({"agent": "on"}, "spec.agent", "must be one of enabled, drain, inflight, report, disabled"),
        ({"agent": True}, "spec.agent", "must be one of enabled, drain, inflight, report, disabled"),
        ({"redelivery": {"maxAttempts": 0}}, "spec.redelivery.maxAttempts", "between 1 and 100"),
        (
            {"template": {"spec": {"hostNetwork": True}}},
            "spec.template.spec.hostNetwork",
            "drop it",
        ),
        ({"template": {"spec": {"containers": []}}}, "spec.template.spec.containers", "spec.template.spec.sidecars"),
        ({"template": {"spec": {"hostPort": 1}}}, "spec.template.spec.hostPort", "kubectl explain cwp.spec.template"),
        ({"template": {"spec": {"nodeselector": {}}}}, "spec.template.spec.nodeselector", "did you mean nodeSelector?"),
        ({"template": {"spec": {"env": [{"value": "x"}]}}}, "spec.template.spec.env[0].name", "set it"),
        ({"template": {"metadata": {"labels": {"a": 1}}}}, "spec.template.metadata.labels[a]", "quote it"),
    ],
)
def test_a_bad_field_is_named_with_its_cure(spec: dict[str, Any], field: str, cure: str) -> None:
    with pytest.raises(InvalidPool) as caught:
        parse_pool(minimal(**spec))
    assert caught.value.field == field
    assert cure in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_name_too_long_for_a_label_is_refused() -> None:
    with pytest.raises(InvalidPool, match=r"metadata\.name.*shorter"):
        parse_pool(replaced(minimal(), ("metadata", "name"), "x" * 64))


def spec_nodes(body: Body) -> list[tuple[Path, Any]]:
    return [(path, value) for path, value in nodes(body) if path[:1] != ("apiVersion",) and path[:1] != ("kind",)]


@pytest.mark.parametrize("body", variants(), ids=["full", "custom", "sentinel"])
def test_no_value_anywhere_makes_it_fail_with_anything_but_invalid_pool(body: Body) -> None:
    refused = 0
    for path, _value in spec_nodes(body):
        for odd in ODD:
            try:
                assert isinstance(parse_pool(replaced(body, path, odd)), WorkerPool)
            except InvalidPool as error:
                refused += bool(error.field)
    assert refused > len(ODD) * 10


@pytest.mark.parametrize("body", variants(), ids=["full", "custom", "sentinel"])
def test_any_field_of_the_wrong_type_is_named(body: Body) -> None:
    """What the operator reads itself; the depths of the template are the API server's."""
    for path, value in spec_nodes(body):
        if path[:3] == ("spec", "template", "spec") and len(path) > 4:
            continue
        with pytest.raises(InvalidPool) as caught:
            parse_pool(replaced(body, path, object()))
        expected = dotted(path) or "resource"
        in_a_map = path[:3] == ("spec", "template", "metadata") and len(path) == 5
        if in_a_map or (path[:3] == ("spec", "deployment", "annotations") and len(path) == 4):
            expected = f"{dotted(path[:-1])}[{path[-1]}]"
        assert caught.value.field == expected, (path, value)
