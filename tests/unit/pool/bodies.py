"""Bodies of CeleryWorkerPools for the tests of this folder, and ways to change them."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

Body = dict[str, Any]
Path = tuple[str | int, ...]

# Each is a JSON or YAML value that is wrong in most places.
ODD: list[Any] = [None, True, -1, 0, 7, 10**400, 1.5, float("nan"), float("inf"), "", "x", "\n", "9" * 400]
ODD += [[], [None], [[]], ["a", "a"], [{}], {}, {"a": None}, {"a": 1}, {1: 2}, object()]


def minimal(**spec: Any) -> Body:
    """The least that a pool needs, and what the test adds to its spec."""
    needed = {"image": "registry.example/app:1.4", "app": "proj.celery:app", "broker": {"url": "redis://redis:6379/0"}}
    return {
        "apiVersion": "celeriac.dev/v1alpha1",
        "kind": "CeleryWorkerPool",
        "metadata": {"namespace": "shop", "name": "ml", "uid": "6f1d", "generation": 3},
        "spec": needed | spec,
    }


def secret_key() -> Body:
    """A reference to the Secret of the broker."""
    return {"secretKeyRef": {"name": "broker", "key": "url"}}


def full() -> Body:
    """Every field of the spec but those that exclude one another; see `variants`."""
    policy = {"type": "Percent", "value": 50, "periodSeconds": 60}
    rules = {
        "stabilizationWindowSeconds": 30,
        "tolerance": "50m",
        "selectPolicy": "Min",
        "policies": [policy, {"type": "Pods", "value": 4, "periodSeconds": 15}],
    }
    container = {"name": "proxy", "image": "proxy:1", "args": ["--port=1"]}
    return minimal(
        queues=["images", "videos"],
        pool="prefork",
        concurrency=8,
        launcher=["tini", "--", "python"],
        broker={
            "urlFrom": secret_key(),
            "rolloutOnSecretChange": False,
            "keyPrefix": "shop:",
            "separator": ":",
            "prioritySteps": [0, 5],
            "tls": {"caFrom": secret_key(), "certificateFrom": secret_key(), "privateKeyFrom": secret_key()},
        },
        replicas=3,
        scaling={
            "minReplicas": 1,
            "maxReplicas": 50,
            "target": {"tasksPerSlot": 2},
            "scaleToZeroAfterSeconds": 60,
            "behavior": {"scaleUp": copy.deepcopy(rules), "scaleDown": copy.deepcopy(rules)},
            "fallback": {"afterSeconds": 90, "replicas": 5},
            "mode": "DryRun",
        },
        worker={
            "prefetchMultiplier": 1,
            "maxTasksPerChild": 100,
            "maxMemoryPerChildKiB": 200_000,
            "softTimeLimitSeconds": 50,
            "timeLimitSeconds": 60,
            "events": True,
            "logLevel": "DEBUG",
            "extraArgs": ["--disable-prefetch"],
        },
        drain={"timeoutSeconds": 120},
        agent="disabled",
        redelivery={"maxAttempts": 3},
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "10%"}},
        podSecurity="Restricted",
        deployment={"annotations": {"example.com/reload": "true"}},
        template={
            "metadata": {"labels": {"team": "vision"}, "annotations": {"example.com/note": "x"}},
            "spec": {
                "resources": {
                    "requests": {"cpu": 0.5},
                    "limits": {"memory": "1Gi"},
                    "claims": [{"name": "gpu", "request": "one"}],
                },
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "settings"}}],
                "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                "volumes": [{"name": "models", "emptyDir": {}}],
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "sidecars": [container],
                "initContainers": [{**container, "name": "fetch"}],
                "securityContext": {"fsGroup": 1000},
                "containerSecurityContext": {"runAsUser": 1000, "readOnlyRootFilesystem": False},
                "lifecycle": {"preStop": {"exec": {"command": ["/app/leave"]}}},
                "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
                "serviceAccountName": "robot",
            },
        },
    )


def variants() -> list[Body]:
    """Bodies that together hold every field of the spec."""
    secret = {"secretKeyRef": {"name": "sentinel", "key": "password"}}
    sentinel = {
        "url": "sentinel://a:26379/1;sentinel://b:26379/1",
        "sentinelMaster": "mymaster",
        "sentinel": {
            "usernameFrom": secret,
            "passwordFrom": secret,
            "tls": {"caFrom": secret, "certificateFrom": secret, "privateKeyFrom": secret},
        },
    }
    return [
        full(),
        minimal(
            pool="custom",
            customPool="my.pool:TaskPool",
            scaling={"target": {"queueWaitSeconds": 2.5}},
            worker={"rejectOnWorkerLost": True},
            agent="inflight",
        ),
        minimal(pool="solo", concurrency=1, broker=sentinel, strategy={"type": "Recreate"}),
    ]


def nodes(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value inside a body, containers and leaves, with its path."""
    yield path, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from nodes(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nodes(item, (*path, index))


def replaced(body: Any, path: Path, value: Any) -> Any:
    """The body with another value at the path; what does not lie on the way there is shared with the first."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    copied = copy.copy(body)
    copied[step] = replaced(body[step], rest, value) if rest else value
    return copied


def dotted(path: Path) -> str:
    """The path as an error spells it: spec.queues[0]."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
