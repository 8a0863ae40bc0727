"""What a ScaledObject of KEDA's or a HorizontalPodAutoscaler says, as spec.scaling."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from celeriac.cli.convert.remarks import Body, Remarks, without_nothing

POLLING_SECONDS: Final = 30
KEDA_MAX: Final = 100
COOLDOWN_SECONDS: Final = 300
LISTS: Final = ("redis", "redis-sentinel")
"""Triggers that count what waits in a list of Redis."""
REDIS_PORT: Final = "6379"


@dataclass(slots=True)
class Scaling:
    """spec.scaling, a pin, and what the triggers know of queues and broker."""

    fields: Body = field(default_factory=dict)
    replicas: int | None = None
    queues: list[str] = field(default_factory=list)
    broker: Body | None = None


def of_nothing(replicas: int, remarks: Remarks) -> Scaling:
    """For a Deployment that nothing scaled."""
    remarks.say(
        "spec.scaling",
        f"{replicas} ran always, and nothing scaled them: they are the bounds now; widen them, minReplicas: 0"
        " lets the pool sleep",
    )
    return Scaling({"minReplicas": replicas, "maxReplicas": max(replicas, 1)})


def of_hpa(hpa: Body, remarks: Remarks) -> Scaling:
    """For one that an HPA scaled: its bounds and its behavior."""
    spec = hpa["spec"]
    for index, metric in enumerate(spec.get("metrics") or ({"type": "Resource", "resource": {"name": "cpu"}},)):
        kind = str(metric.get("type", ""))
        inner = metric.get(kind[:1].lower() + kind[1:]) or {}
        name = inner.get("name") or (inner.get("metric") or {}).get("name") or "?"
        remarks.say(
            f"hpa.metrics[{index}]",
            f"{kind} {name} is dropped: a pool follows what waits in its queues (scaling.target)",
        )
    if "targetCPUUtilizationPercentage" in spec:
        remarks.say("hpa.targetCPUUtilizationPercentage", "is dropped: a pool follows what waits in its queues")
    fields = {
        "minReplicas": spec.get("minReplicas", 1),
        "maxReplicas": spec["maxReplicas"],
        "behavior": spec.get("behavior"),
    }
    return Scaling(without_nothing(fields))


def of_scaled_object(scaled: Body, slots: int, secrets: Mapping[str, Body], remarks: Remarks) -> Scaling:
    """For one that KEDA scaled. `slots`: tasks that a pod runs; `secrets`: TriggerAuthentications by kind/name."""
    spec = scaled["spec"]
    found = Scaling(_bounds(spec, remarks))
    _pauses(scaled["metadata"].get("annotations") or {}, found)
    targets = []
    for index, trigger in enumerate(spec.get("triggers") or ()):
        target = _trigger(trigger, f"triggers[{index}]", found, secrets, remarks)
        if target is not None:
            targets.append(target)
    if targets:
        found.fields["target"] = {"tasksPerSlot": _short(min(targets) / slots)}
        remarks.say(
            "spec.scaling.target",
            f"{min(targets):g} a pod are {min(targets) / slots:g} a slot; running tasks count, too, and"
            " queueWaitSeconds is the other way to say it: how long a task may wait",
        )
        if len(set(targets)) > 1:
            remarks.say(
                "spec.scaling.target", f"of the triggers' lengths the least counts for all queues: {min(targets):g}"
            )
    return found


def _bounds(spec: Body, remarks: Remarks) -> Body:
    fields: Body = {"minReplicas": spec.get("minReplicaCount", 0), "maxReplicas": spec.get("maxReplicaCount", KEDA_MAX)}
    cooldown = spec.get("cooldownPeriod", COOLDOWN_SECONDS)
    if cooldown != COOLDOWN_SECONDS:
        fields["scaleToZeroAfterSeconds"] = cooldown
    if fallback := spec.get("fallback"):
        seconds = fallback.get("failureThreshold", 3) * spec.get("pollingInterval", POLLING_SECONDS)
        fields["fallback"] = {"afterSeconds": seconds, "replicas": fallback["replicas"]}
        if fallback.get("behavior", "static") != "static":
            remarks.say(
                "fallback.behavior", "is dropped: the replicas of the fallback hold, and never fewer than ran before"
            )
    advanced = spec.get("advanced") or {}
    fields["behavior"] = (advanced.get("horizontalPodAutoscalerConfig") or {}).get("behavior")
    for name, sentence in _UNKNOWN.items():
        if name in spec or name in advanced:
            remarks.say(name, sentence)
    return without_nothing(fields)


_UNKNOWN: Final = {
    "pollingInterval": "is dropped: the operator reads the queues twice a second",
    "idleReplicaCount": "is dropped: minReplicas says how many stay when there is nothing to do",
    "initialCooldownPeriod": "is dropped",
    "restoreToOriginalReplicaCount": "is dropped: the Deployment goes with its pool",
    "scalingModifiers": "is dropped: a pool follows what waits in its queues",
}


def _pauses(annotations: Body, found: Scaling) -> None:
    replicas = annotations.get("autoscaling.keda.sh/paused-replicas")
    if replicas is not None:
        found.replicas = int(replicas)
    elif str(annotations.get("autoscaling.keda.sh/paused", "false")).lower() == "true":
        found.fields["mode"] = "Paused"


def _trigger(trigger: Body, place: str, found: Scaling, secrets: Mapping[str, Body], remarks: Remarks) -> float | None:
    """The tasks a pod that a trigger aims for; None where it is none of queues."""
    kind, metadata = str(trigger.get("type", "")), trigger.get("metadata") or {}
    read = _LENGTHS.get(kind)
    if read is None:
        sentence = _OTHERS.get(kind, "a pool follows what waits in its queues (scaling.target)")
        remarks.say(f"{place} ({kind})", f"is dropped: {sentence}")
        return None
    queue, length = read(metadata)
    if queue:
        found.queues.append(queue)
    if float(metadata.get("activationListLength") or metadata.get("activationValue") or 0):
        remarks.say(f"{place}.activation", "is dropped: one task wakes a pool")
    if kind == "rabbitmq":
        remarks.say(f"{place} (rabbitmq)", "Celeriac reads Redis only: move the queues to a Redis first")
    elif found.broker is None:
        found.broker = _redis(trigger, metadata, kind, secrets, place, remarks)
    return length


def _of_a_list(metadata: Body) -> tuple[str, float]:
    return str(metadata.get("listName", "")), float(metadata.get("listLength") or 5)


def _of_rabbitmq(metadata: Body) -> tuple[str, float]:
    return str(metadata.get("queueName", "")), float(metadata.get("value") or metadata.get("queueLength") or 20)


_LENGTHS: Final[Mapping[str, Callable[[Body], tuple[str, float]]]] = {
    **dict.fromkeys(LISTS, _of_a_list),
    "rabbitmq": _of_rabbitmq,
}
_OTHERS: Final = {
    "cron": "a pool knows no times of day; a CronJob with kubectl patch cwp NAME can set scaling.minReplicas",
    "cpu": "workers wait for the network or compute, and a queue grows either way; a pool follows its queues",
    "memory": "a pool follows its queues",
    "redis-streams": "Celery keeps its queues in lists",
    **dict.fromkeys(("redis-cluster", "redis-cluster-streams"), "Celery (kombu) has no transport for a Redis Cluster"),
}


def _redis(
    trigger: Body, metadata: Body, kind: str, secrets: Mapping[str, Body], place: str, remarks: Remarks
) -> Body | None:
    """Where the trigger's Redis is: {scheme, addresses, database, secret, master}; None where it does not say it."""
    given = _authentication(trigger, secrets, place, remarks)
    text = metadata.get("addresses") or metadata.get("address") or ""
    hosts, ports = metadata.get("hosts") or metadata.get("host"), metadata.get("ports") or metadata.get("port")
    if not text and hosts:
        pairs = zip(hosts.split(","), (ports or REDIS_PORT).split(","), strict=False)
        text = ",".join(f"{host}:{port}" for host, port in pairs)
    if not text:
        remarks.say(f"{place}.address", "comes from a variable or a Secret: it is not looked up")
        return None
    secret = any("password" in name.lower() for name in (*metadata, *given))
    tls = str(metadata.get("enableTLS", "false")).lower() == "true" or "tls" in given
    if str(metadata.get("unsafeSsl", "false")).lower() == "true":
        remarks.say(f"{place}.unsafeSsl", "is dropped: give the certificate authority in spec.broker.tls.caFrom")
    return {
        "scheme": "rediss" if tls else "redis",
        "addresses": [each.strip() for each in text.split(",")],
        "database": str(metadata.get("databaseIndex") or "0"),
        "secret": secret,
        "master": metadata.get("sentinelMaster") if kind == "redis-sentinel" else None,
    }


def _authentication(trigger: Body, secrets: Mapping[str, Body], place: str, remarks: Remarks) -> Iterable[str]:
    """The parameters that a TriggerAuthentication gives, by their names."""
    reference = trigger.get("authenticationRef")
    if not reference:
        return ()
    name = f"{reference.get('kind', 'TriggerAuthentication')}/{reference['name']}"
    body: Any = secrets.get(name)
    if body is None:
        remarks.say(f"{place}.authenticationRef", f"{name} is in none of the files: a password is taken for granted")
        return ("password",)
    spec = body.get("spec") or {}
    return [each["parameter"] for part in ("secretTargetRef", "env") for each in spec.get(part) or ()] or ["password"]


def _short(number: float) -> float | int:
    rounded = max(round(number, 3), 0.01)
    return int(rounded) if rounded == int(rounded) else rounded
