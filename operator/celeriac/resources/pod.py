"""The pods of a pool: the worker's container, and around it what the user's template adds."""

from collections.abc import Mapping, Sequence
from typing import Any

from celeriac.api.names import WORKER_CONTAINER
from celeriac.pool.model import PodSecurity, WorkerPool
from celeriac.resources.agent import agent_environment, agent_mount, agent_volume
from celeriac.resources.bootstrap import RUN_DIR
from celeriac.resources.command import worker_arguments, worker_command
from celeriac.resources.environment import environment, tls_mounts, tls_volumes
from celeriac.resources.probes import readiness_probe, startup_probe
from celeriac.resources.security import helper_security_context, pod_security_context, worker_security_context

RUN_VOLUME = "celeriac-run"
TMP_VOLUME = "celeriac-tmp"
TMP_DIR = "/tmp"

# Fields of spec.template.spec that belong to the worker's container; the others belong to the pod.
CONTAINER_FIELDS = ("imagePullPolicy", "workingDir", "envFrom", "resources", "lifecycle")
LAST_WORDS = {"terminationMessagePolicy": "FallbackToLogsOnError"}
"""Where a container fails, the end of its log becomes part of the Pod's status, from which the pool says why."""
MERGED_FIELDS = (
    *("env", "volumeMounts", "volumes", "initContainers", "sidecars"),
    *("securityContext", "containerSecurityContext"),
)


def pod_spec(pool: WorkerPool, *, url_has_query: bool, agent_config: str | None) -> dict[str, Any]:
    """The pod's spec: the user's fields, and ours over them. `agent_config` names the agent's ConfigMap, if any."""
    users = fresh(pool.template.spec)
    spec = {name: value for name, value in users.items() if name not in (*CONTAINER_FIELDS, *MERGED_FIELDS)}
    spec |= {
        # A worker talks to its broker, not to Kubernetes.
        "automountServiceAccountToken": False,
        # Otherwise a Service named `redis` sets REDIS_PORT=tcp://..., and one named `celery-worker` sets variables
        # that start like the ones Celery's command line takes its options from (CELERY_WORKER_...).
        "enableServiceLinks": False,
        # A worker that gets SIGTERM first ends the tasks that it runs.
        "terminationGracePeriodSeconds": pool.drain_timeout_seconds,
        "securityContext": pod_security_context(pool.pod_security, users.get("securityContext", {})),
        "containers": [_worker_container(pool, users, url_has_query, agent_config is not None)],
        "volumes": [*_volumes(pool, users, agent_config), *users.get("volumes", [])],
    }
    helpers = _init_containers(pool.pod_security, users)
    return {**spec, "initContainers": helpers} if helpers else spec


def fresh(value: Any) -> Any:
    """A copy in plain dicts and lists, so that no manifest shares a part with a pool or with another manifest."""
    if isinstance(value, Mapping):
        return {key: fresh(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [fresh(item) for item in value]
    return value


def _worker_container(pool: WorkerPool, users: Mapping[str, Any], url_has_query: bool, agent: bool) -> dict[str, Any]:
    own = [*environment(pool, url_has_query=url_has_query), *(agent_environment(pool) if agent else [])]
    container = {
        "name": WORKER_CONTAINER,
        "image": pool.image,
        "command": worker_command(pool, agent=agent),
        "args": worker_arguments(pool, agent=agent),
        "env": [*own, *users.get("env", [])],
        "startupProbe": startup_probe(),
        "readinessProbe": readiness_probe(),
        "volumeMounts": [*_mounts(pool, users, agent), *users.get("volumeMounts", [])],
        **LAST_WORDS,
        **{name: users[name] for name in CONTAINER_FIELDS if name in users},
    }
    context = worker_security_context(pool.pod_security, users.get("containerSecurityContext"))
    return container if context is None else {**container, "securityContext": context}


def _init_containers(level: PodSecurity, users: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The user's init containers, then his sidecars: init containers that keep running (restartPolicy Always).

    A native sidecar is there before the worker starts and until it has ended its last task.
    """
    sidecars = [{**sidecar, "restartPolicy": "Always"} for sidecar in users.get("sidecars", [])]
    helpers = [*users.get("initContainers", []), *sidecars]
    return [_with_security(level, {**LAST_WORDS, **helper}) for helper in helpers]


def _with_security(level: PodSecurity, helper: dict[str, Any]) -> dict[str, Any]:
    context = helper_security_context(level, helper.get("securityContext"))
    return helper if context is None else {**helper, "securityContext": context}


def _volumes(pool: WorkerPool, users: Mapping[str, Any], agent_config: str | None) -> list[dict[str, Any]]:
    """Ours: a little memory for files of state, the agent, the broker's certificates, a /tmp on a read-only root."""
    run = {"name": RUN_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    agent = [] if agent_config is None else [agent_volume(agent_config)]
    tmp = [{"name": TMP_VOLUME, "emptyDir": {}}] if _needs_tmp(pool, users) else []
    return [run, *agent, *tls_volumes(pool.broker), *tmp]


def _mounts(pool: WorkerPool, users: Mapping[str, Any], agent: bool) -> list[dict[str, Any]]:
    tmp = [{"name": TMP_VOLUME, "mountPath": TMP_DIR}] if _needs_tmp(pool, users) else []
    agents = [agent_mount()] if agent else []
    return [{"name": RUN_VOLUME, "mountPath": RUN_DIR}, *agents, *tls_mounts(pool.broker), *tmp]


def _needs_tmp(pool: WorkerPool, users: Mapping[str, Any]) -> bool:
    """Whether the worker needs our /tmp: its root file system is read-only and the user mounts none there."""
    own = any(mount["mountPath"].rstrip("/") == TMP_DIR for mount in users.get("volumeMounts", []))
    return pool.pod_security is PodSecurity.RESTRICTED and not own
