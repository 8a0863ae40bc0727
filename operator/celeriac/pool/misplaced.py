"""Fields of Kubernetes that people know and a pool has not: where each belongs instead."""

from collections.abc import Mapping
from typing import Final

_WORKER: Final = "the worker's container is made by the operator"
_SIDECARS: Final = "it is for spec.template.spec.sidecars and .initContainers; the worker's own is made by the operator"
_NODE: Final = "workers have no need of it, and it would hand the node to whoever may write pools"
_SCALED: Final = "the operator scales the pool: set spec.scaling"

ELSEWHERE: Final[Mapping[str, str]] = {
    # v1 PodSpec
    "containers": f"{_WORKER}: put others beside it into spec.template.spec.sidecars",
    "ephemeralContainers": "Kubernetes takes them of running Pods only: use kubectl debug",
    "restartPolicy": "drop it, it is always Always",
    "terminationGracePeriodSeconds": "set spec.drain.timeoutSeconds",
    "activeDeadlineSeconds": "drop it, a worker has no end; a task has one: set spec.worker.timeLimitSeconds",
    "serviceAccount": "set spec.template.spec.serviceAccountName",
    "automountServiceAccountToken": "drop it, workers get no token; mount one by a projected volume in"
    " spec.template.spec.volumes where a task needs it",
    "nodeName": "set spec.template.spec.nodeSelector or .affinity, so that the scheduler chooses",
    "hostNetwork": f"drop it, {_NODE}",
    "hostPID": f"drop it, {_NODE}",
    "hostIPC": f"drop it, {_NODE}",
    "hostUsers": "drop it, the cluster's default holds",
    "shareProcessNamespace": "drop it, signals would reach the worker through another container",
    "hostname": "drop it, each worker is named after its Pod",
    "subdomain": "drop it, each worker is named after its Pod",
    "setHostnameAsFQDN": "drop it, each worker is named after its Pod",
    "priority": "set spec.template.spec.priorityClassName",
    "preemptionPolicy": "set spec.template.spec.priorityClassName; the PriorityClass has it",
    "overhead": "set spec.template.spec.runtimeClassName; the RuntimeClass has it",
    "readinessGates": "drop it, a worker is ready when it consumes",
    "schedulingGates": "drop it, use spec.scaling.mode: Paused to hold a pool",
    "enableServiceLinks": "drop it, it is false",
    "os": "set spec.template.spec.nodeSelector (kubernetes.io/os)",
    # v1 Container
    "command": "set spec.launcher, and options of Celery in spec.worker",
    "args": "set spec.worker, and what is not there in spec.worker.extraArgs",
    "name": "drop it, the worker's container is named worker",
    "ports": f"{_WORKER}, and a worker listens on none: {_SIDECARS}",
    "livenessProbe": f"drop it, a restart would lose the tasks of a worker that is busy; {_SIDECARS}",
    "readinessProbe": f"drop it, the operator probes whether the worker consumes; {_SIDECARS}",
    "startupProbe": f"drop it, the operator probes whether the worker consumes; {_SIDECARS}",
    "volumeDevices": f"a pool has none: mount a volume by spec.template.spec.volumeMounts; {_SIDECARS}",
    "resizePolicy": f"drop it; {_SIDECARS}",
    "runAsUser": "set spec.template.spec.securityContext.runAsUser",
    "runAsGroup": "set spec.template.spec.securityContext.runAsGroup",
    "fsGroup": "set spec.template.spec.securityContext.fsGroup",
    "capabilities": "set spec.podSecurity: Restricted, which drops them all",
    "privileged": "drop it, a worker is never privileged",
    "stdin": "drop it, nobody types there",
    "tty": "drop it, nobody types there",
    # apps/v1 Deployment, and autoscalers
    "selector": "drop it, the operator chooses the labels",
    "minReadySeconds": "drop it, a worker is ready when it consumes",
    "progressDeadlineSeconds": "drop it, condition Stalled tells of a rollout that does not end",
    "revisionHistoryLimit": "drop it, the operator has its own",
    "paused": "set spec.scaling.mode: Paused",
    "scaleTargetRef": f"drop it, {_SCALED}",
    "triggers": f"drop it, {_SCALED}",
    "metrics": f"drop it, {_SCALED}",
    "pollingInterval": "drop it, queues are read twice a second",
    "cooldownPeriod": "set spec.scaling.scaleToZeroAfterSeconds",
    "minReplicaCount": "set spec.scaling.minReplicas",
    "maxReplicaCount": "set spec.scaling.maxReplicas",
    # Celery's own words
    "hostnames": "drop it, each worker is named after its Pod",
    "loglevel": "set spec.worker.logLevel",
    "autoscale": f"drop it, {_SCALED}, and spec.concurrency for the tasks of one Pod",
    "beat": "run celery beat on its own, with one replica",
    "brokerUrl": "set spec.broker.urlFrom, or spec.broker.url without a password",
    "broker_url": "set spec.broker.urlFrom, or spec.broker.url without a password",
    "resultBackend": "set it in the application",
}
