"""What a Deployment says of its pods, as the fields of a pool; and a remark for each field that has no place there."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from celeriac.cli.convert.command_line import Worker, names_celery, worker_of
from celeriac.cli.convert.remarks import Body, Remarks, without_nothing
from celeriac.pool.misplaced import ELSEWHERE
from celeriac.pool.refused import CONTAINERS, LABELS, MOUNTS, VARIABLES, VOLUMES, Rule, refusal_of
from celeriac.pool.template import POD_FIELDS

OF_THE_CONTAINER: Final = ("resources", "env", "envFrom", "volumeMounts", "imagePullPolicy", "workingDir", "lifecycle")
USUAL: Final[Mapping[str, Any]] = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "enableServiceLinks": True,
    "securityContext": {},
}
"""What the API server fills in where nobody says it."""
OF_TOOLS: Final = ("kubectl.kubernetes.io/", "deployment.kubernetes.io/", "meta.helm.sh/", "autoscaling.keda.sh/")
"""Annotations that are about the old object."""
OF_THE_DEPLOYMENT: Final[Mapping[str, str]] = {
    "revisionHistoryLimit": "is dropped: the operator keeps 2 old ReplicaSets",
    "progressDeadlineSeconds": "is dropped: the operator waits 600 s",
    "minReadySeconds": "is dropped: a worker is ready when it consumes",
    "paused": "is dropped: set spec.scaling.mode: Paused to hold the replicas",
}
SHOWN_DEFAULTS: Final = {"revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}


class Found(NamedTuple):
    """The worker of a Deployment: its container, the others, and its command line."""

    container: Body
    others: list[Body]
    worker: Worker


def worker_container(pod: Body, remarks: Remarks, app: str | None) -> Found | None:
    """The container that runs a worker. `app`: take the only container for one, whose image starts it by itself."""
    containers = pod.get("containers") or []
    for container in containers:
        words = [*(container.get("command") or ()), *(container.get("args") or ())]
        worker = worker_of(words, _plain(container.get("env") or ()), remarks)
        if worker is not None:
            others = [each for each in containers if each is not container]
            if not container.get("command"):
                remarks.say(
                    "command", "the image's ENTRYPOINT does not run in a pool: name it in spec.launcher if it must"
                )
            return Found(container, others, worker)
    if app is not None and containers:
        return Found(containers[0], containers[1:], Worker(["python"], {"app": app}))
    return None


def other_command(pod: Body) -> str | None:
    """Which other command of Celery's the pod runs."""
    words = (
        word for each in pod.get("containers") or () for part in ("command", "args") for word in each.get(part) or ()
    )
    return names_celery(words)


def _plain(env: Iterable[Body]) -> dict[str, str]:
    return {each["name"]: str(each["value"]) for each in env if "value" in each and "name" in each}


def template_of(deployment: Body, found: Found, remarks: Remarks) -> Body:
    """spec.template."""
    template = deployment["spec"].get("template") or {}
    metadata = template.get("metadata") or {}
    return without_nothing(
        {
            "metadata": without_nothing(
                {
                    "labels": _allowed(metadata.get("labels") or {}, LABELS, "template.metadata.labels", remarks),
                    "annotations": own_annotations(metadata),
                }
            ),
            "spec": _pod(template.get("spec") or {}, found, remarks),
        }
    )


def own_annotations(metadata: Body) -> Body:
    """Annotations but those of tools about the old object."""
    entries = metadata.get("annotations") or {}
    return {key: value for key, value in entries.items() if not key.startswith(OF_TOOLS)}


def _allowed(entries: Body, rules: tuple[Rule, ...], place: str, remarks: Remarks) -> Body:
    kept = {}
    for key, value in entries.items():
        if problem := refusal_of(key, rules):
            remarks.say(f"{place}[{key}]", _dropped(problem))
        else:
            kept[key] = value
    return kept


def _pod(pod: Body, found: Found, remarks: Remarks) -> Body:
    spec = _of_the_worker(found.container, remarks)
    for name, value in pod.items():
        if (
            name in ("containers", "initContainers", "volumes", "terminationGracePeriodSeconds")
            or USUAL.get(name) == value
        ):
            continue
        if name == "serviceAccount" and pod.get("serviceAccountName", value) == value:
            spec.setdefault("serviceAccountName", value)
        elif name in POD_FIELDS and name not in OF_THE_CONTAINER:
            spec[name] = value
        else:
            remarks.say(f"template.spec.{name}", _dropped(ELSEWHERE.get(name, "a pool has no such field")))
    if "serviceAccountName" in spec:
        remarks.say("template.spec.serviceAccountName", "is kept, and no token of it is mounted: see docs/api.md")
    spec["volumes"] = _named(pod.get("volumes") or (), "name", VOLUMES, "template.spec.volumes", remarks)
    helpers = _named(pod.get("initContainers") or (), "name", CONTAINERS, "template.spec.initContainers", remarks)
    beside = _named(found.others, "name", CONTAINERS, "template.spec.containers", remarks)
    spec["initContainers"] = [each for each in helpers if each.get("restartPolicy") != "Always"]
    native = [each for each in helpers if each.get("restartPolicy") == "Always"]
    spec["sidecars"] = [
        {key: value for key, value in each.items() if key != "restartPolicy" and USUAL.get(key) != value}
        for each in (*native, *beside)
    ]
    for each in beside:
        remarks.say(
            f"template.spec.containers[{each['name']}]", "becomes a native sidecar: it starts before the worker"
        )
    return without_nothing(spec)


def _of_the_worker(container: Body, remarks: Remarks) -> Body:
    spec: Body = {}
    for name, value in container.items():
        if name in ("name", "image", "command", "args") or USUAL.get(name) == value:
            continue
        if name == "env":
            spec[name] = _named(value, "name", VARIABLES, "env", remarks)
        elif name == "volumeMounts":
            spec[name] = _named(value, "mountPath", MOUNTS, "volumeMounts", remarks)
        elif name == "securityContext":
            spec["containerSecurityContext"] = value
        elif name in OF_THE_CONTAINER:
            spec[name] = value
        else:
            remarks.say(f"container.{name}", _dropped(ELSEWHERE.get(name, "the operator makes the container")))
    if "lifecycle" in spec:
        remarks.say(
            "container.lifecycle", "is kept: see whether it is still needed, workers drain before they are stopped"
        )
    return spec


def _named(items: Iterable[Body], key: str, rules: tuple[Rule, ...], place: str, remarks: Remarks) -> list[Body]:
    """The items whose names a pool may have; the broker's variables need no word, spec.broker has them."""
    kept = []
    for item in items:
        name = str(item.get(key, ""))
        problem = refusal_of(name, rules)
        if problem is None:
            kept.append(item)
        elif not name.startswith("CELERY_BROKER"):
            remarks.say(f"{place}[{name}]", _dropped(problem))
    return kept


def _dropped(cure: str) -> str:
    return f"is dropped: {cure.removeprefix('drop it, ')}"


def of_the_deployment(deployment: Body, remarks: Remarks) -> Body:
    """What a Deployment says beside its pods: spec.deployment, spec.strategy, spec.drain."""
    spec = deployment["spec"]
    for name, sentence in OF_THE_DEPLOYMENT.items():
        if spec.get(name) not in (None, SHOWN_DEFAULTS.get(name)):
            remarks.say(f"spec.{name}", sentence)
    pod = (spec.get("template") or {}).get("spec") or {}
    grace = pod.get("terminationGracePeriodSeconds")
    if grace in (None, 30):
        remarks.say(
            "spec.drain.timeoutSeconds",
            "the pods had 30 s to end; a pool gives its tasks 3600 s: set it to the longest",
        )
    strategy = spec.get("strategy") or {}
    shown = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    return without_nothing(
        {
            "drain": None if grace in (None, 30) else {"timeoutSeconds": grace},
            "strategy": None if strategy == shown else strategy,
            "deployment": without_nothing({"annotations": own_annotations(deployment["metadata"])}),
        }
    )
