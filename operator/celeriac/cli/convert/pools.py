"""The objects of some files, joined: each Deployment of workers with what scales it becomes one pool."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from celeriac.api.names import API_VERSION, KIND
from celeriac.cli.convert.autoscaler import Scaling, of_hpa, of_nothing, of_scaled_object
from celeriac.cli.convert.broker import broker_of
from celeriac.cli.convert.command_line import Worker
from celeriac.cli.convert.remarks import Body, Remarks, without_nothing
from celeriac.cli.convert.workload import of_the_deployment, other_command, template_of, worker_container
from celeriac.cli.schema import schema_problems
from celeriac.cluster.records import controller_of
from celeriac.pool.parse import problems

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Rollout")
CELERY_SLOTS = 4
"""The operator's default concurrency."""


@dataclass(slots=True)
class Converted:
    """A pool, what it was made of, and what is to be told of it."""

    pool: Body
    sources: list[str]
    remarks: Remarks


@dataclass(slots=True)
class Conversion:
    """All pools, and of the other objects why they are none."""

    pools: list[Converted] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def convert(objects: Iterable[Body], app: str | None = None) -> Conversion:
    """`app`: of workers whose command does not name it, as their image starts them by itself."""
    every = list(objects)
    autoscalers = {
        _target(each): each for each in every if each.get("kind") in ("ScaledObject", "HorizontalPodAutoscaler")
    }
    secrets = {
        f"{each['kind']}/{each['metadata']['name']}": each
        for each in every
        if each.get("kind") in ("TriggerAuthentication", "ClusterTriggerAuthentication")
    }
    result, used = Conversion(), set()
    for each in every:
        kind, name = each.get("kind"), (each.get("metadata") or {}).get("name", "?")
        if owner := _owning_pool(each):
            result.passed_over.append(f"{kind} {name}: is of the pool {owner}")
        elif kind == "Deployment":
            target = (_namespace(each), "Deployment", name)
            converted = _pool(each, autoscalers.get(target), secrets, app, result)
            if converted is not None:
                result.pools.append(converted)
                used.add(target)
        elif kind in WORKLOADS:
            result.passed_over.append(f"{kind} {name}: a pool takes the place of a Deployment")
        elif kind not in (
            "ScaledObject",
            "HorizontalPodAutoscaler",
            "TriggerAuthentication",
            "ClusterTriggerAuthentication",
        ):
            result.passed_over.append(f"{kind} {name}: stays as it is")
    for target, scaler in autoscalers.items():
        if target not in used:
            place = f"{scaler['kind']} {scaler['metadata']['name']}"
            result.passed_over.append(f"{place}: no Deployment {target[2]} of Celery workers is in the files")
    return result


def _namespace(body: Body) -> str:
    return str((body.get("metadata") or {}).get("namespace", ""))


def _owning_pool(body: Body) -> str | None:
    owner = controller_of(body) if body.get("metadata") else None
    return owner["name"] if owner and owner.get("kind") == KIND else None


def _target(body: Body) -> tuple[str, str, str]:
    reference = (body.get("spec") or {}).get("scaleTargetRef") or {}
    return _namespace(body), reference.get("kind", "Deployment"), reference.get("name", "")


def _pool(
    deployment: Body, scaler: Body | None, secrets: dict[str, Body], app: str | None, result: Conversion
) -> Converted | None:
    metadata, name = deployment["metadata"], deployment["metadata"]["name"]
    remarks = Remarks()
    pod = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    found = worker_container(pod, remarks, app)
    if found is None:
        why = _why_none(other_command(pod))
        result.passed_over.append(f"Deployment {name}: {why}")
        return None
    worker = found.worker
    kind = {"processes": "prefork", None: None}.get(worker.values.get("pool"), worker.values.get("pool"))
    concurrency = None if kind == "solo" else worker.concurrency(remarks)
    slots = 1 if kind == "solo" else concurrency or CELERY_SLOTS
    if kind != "solo" and concurrency is None:
        remarks.say(
            "spec.concurrency",
            f"the worker had a slot for each CPU of its node; {slots} is the operator's default: set it",
        )
    scaling = _scaling(deployment, scaler, slots, secrets, remarks)
    env = found.container.get("env") or []
    spec = {
        "image": found.container.get("image"),
        "app": worker.values.get("app") or app,
        "queues": _queues(worker, scaling, remarks),
        "pool": kind if kind != "prefork" else None,
        "concurrency": concurrency,
        "customPool": next(
            (each.get("value") for each in env if each.get("name") == "CELERY_CUSTOM_WORKER_POOL"), None
        ),
        "launcher": worker.launcher if worker.launcher != ["python"] else None,
        "broker": broker_of(name, worker.values.get("broker"), env, scaling.broker, remarks),
        "replicas": scaling.replicas,
        "scaling": scaling.fields,
        "worker": worker.options(remarks),
        **of_the_deployment(deployment, remarks),
        "template": template_of(deployment, found, remarks),
    }
    pool = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": without_nothing({each: metadata.get(each) for each in ("name", "namespace", "labels")}),
        "spec": without_nothing(spec) | ({"replicas": 0} if scaling.replicas == 0 else {}),
    }
    if not spec["app"]:
        remarks.say("spec.app", "the command does not name the app: set it, as celery -A takes it")
    for problem in _problems(pool):
        remarks.say(*problem)
    sources = [f"{each['kind']} {each['metadata']['name']}" for each in (deployment, scaler) if each is not None]
    return Converted(pool, sources, remarks)


def _why_none(other: str | None) -> str:
    if other == "beat":
        return "runs celery beat: leave it as it is, with one replica"
    if other is not None:
        return f"runs celery {other}, which is no worker: leave it as it is"
    return "no container's command starts a celery worker; where the image does it by itself, give --app"


def _scaling(deployment: Body, scaler: Body | None, slots: int, secrets: dict[str, Body], remarks: Remarks) -> Scaling:
    if scaler is None:
        return of_nothing(deployment["spec"].get("replicas", 1), remarks)
    if scaler["kind"] == "HorizontalPodAutoscaler":
        return of_hpa(scaler, remarks)
    return of_scaled_object(scaler, slots, secrets, remarks)


def _queues(worker: Worker, scaling: Scaling, remarks: Remarks) -> list[str] | None:
    queues = list(dict.fromkeys(each for each in worker.values.get("queues", "").split(",") if each))
    for queue in scaling.queues:
        # kombu keeps the messages of a priority in a list of their own.
        if queue.split("\x06")[0] not in (queues or ["celery"]):
            remarks.say(
                "spec.queues", f"the trigger counted {queue!r}, which the worker does not consume: see which is right"
            )
    return queues if queues not in ([], ["celery"]) else None


def _problems(pool: Body) -> Iterator[tuple[str, str]]:
    """What the API server or the operator would refuse, once for each field."""
    seen = set()
    for problem in (*schema_problems(pool), *problems(pool)):
        if problem.field not in seen and problem.field != "spec.app":
            seen.add(problem.field)
            yield problem.field, f"{problem.message}"
