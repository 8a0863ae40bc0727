"""Specs of pools that must be refused, each with the words of the cure that the user is told."""

from typing import Any

from tests.unit.pool.bodies import Body

PASSWORD = "hunter2"
"""It stands in the URLs of some; no refusal may repeat it."""


def broker(**fields: Any) -> Body:
    return {"broker": fields}


def scaling(**fields: Any) -> Body:
    return {"scaling": fields}


def scale_up(**fields: Any) -> Body:
    return {"scaling": {"behavior": {"scaleUp": fields}}}


def rolling(**fields: Any) -> Body:
    return {"strategy": {"rollingUpdate": fields}}


def pod(**fields: Any) -> Body:
    return {"template": {"spec": fields}}


def restricted(**fields: Any) -> Body:
    return {"podSecurity": "Restricted", "template": {"spec": fields}}


def argument(text: str) -> Body:
    return {"worker": {"extraArgs": ["--disable-prefetch", text]}}


def sentinel(fields: Body) -> Body:
    return broker(url="sentinel://a:26379", sentinelMaster="m", sentinel=fields)


SECRET = {"secretKeyRef": {"name": "broker", "key": "url"}}
TOKEN = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
CERTIFICATE_ALONE = {"certificateFrom": SECRET}
POLICY = {"type": "Pods", "value": 4, "periodSeconds": 60}


def helpers(place: str) -> list[tuple[Body, str]]:
    """What Restricted refuses of init containers and of sidecars alike."""

    def helper(**fields: Any) -> Body:
        return restricted(**{place: [{"name": "helper", "image": "registry.example/helper:1", **fields}]})

    return [
        (helper(securityContext={"privileged": True}), f"securityContext of {place} must not set privileged"),
        (helper(securityContext={"runAsUser": 0}), f"securityContext of {place} must not set runAsNonRoot: false"),
        (helper(securityContext={"capabilities": {"add": ["KILL"]}}), f"capabilities of {place} must drop ALL"),
        (
            helper(securityContext={"seccompProfile": {"type": "Unconfined"}}),
            f"Profile.type of {place} must be",
        ),
        (helper(securityContext={"seLinuxOptions": {"user": "u"}}), f"seLinuxOptions of {place} must not set user"),
        (helper(ports=[{"containerPort": 80, "hostPort": 80}]), f"ports of {place} must not set hostPort"),
    ]


def pods(**context: Any) -> Body:
    return restricted(securityContext=context)


PROBE = {"tcpSocket": {"port": 80, "host": "10.0.0.1"}}
HOOKS = {"preStop": {"httpGet": {"port": 80, "host": "10.0.0.1"}}}
PROFILE = {"container.apparmor.security.beta.kubernetes.io/worker": "unconfined"}
RESTRICTED: list[tuple[Body, str]] = [
    *helpers("initContainers"),
    *helpers("sidecars"),
    (
        restricted(sidecars=[{"name": "x", "image": "x", "livenessProbe": PROBE}]),
        "probes of sidecars must not set host",
    ),
    (restricted(sidecars=[{"name": "x", "image": "x", "lifecycle": HOOKS}]), "lifecycle of sidecars must not set"),
    (
        restricted(containerSecurityContext={"privileged": True}),
        "containerSecurityContext must not set privileged",
    ),
    (
        restricted(containerSecurityContext={"runAsUser": 0}),
        "containerSecurityContext must not set runAsNonRoot: false",
    ),
    (
        restricted(containerSecurityContext={"capabilities": {"add": ["KILL"]}}),
        "containerSecurityContext.capabilities must drop ALL",
    ),
    (
        restricted(containerSecurityContext={"seccompProfile": {"type": "Unconfined"}}),
        "Profile.type of containerSecurityContext must be",
    ),
    (
        restricted(containerSecurityContext={"seLinuxOptions": {"user": "u"}}),
        "seLinuxOptions of containerSecurityContext must not set user",
    ),
    (restricted(lifecycle=HOOKS), "template.spec.lifecycle must not set host"),
    (pods(runAsUser=0), "template.spec.securityContext must not set runAsNonRoot: false or runAsUser: 0"),
    (pods(appArmorProfile={"type": "Unconfined"}), "appArmorProfile.type of template.spec.securityContext must be"),
    (pods(seLinuxOptions={"type": "spc_t"}), "seLinuxOptions of template.spec.securityContext must not set"),
    (pods(windowsOptions={"hostProcess": True}), "securityContext must not set windowsOptions.hostProcess: drop it"),
    (pods(sysctls=[{"name": "kernel.msgmax", "value": "1"}]), "sysctls must be among those that are safe"),
    (restricted(volumes=[{"name": "node", "hostPath": {"path": "/"}}]), "use one of these, emptyDir: {}"),
    (restricted(volumes=[{"name": "token", "projected": TOKEN}]), "workers are nobody to the API server"),
    (
        {"podSecurity": "Restricted", "template": {"metadata": {"annotations": PROFILE}}},
        "template.metadata.annotations must be runtime/default or localhost/PROFILE",
    ),
]
BAD: list[tuple[Body, str]] = [
    ({"image": None}, "spec.image: Required"),
    ({"image": "app:1 "}, "image must not hold spaces"),
    ({"app": None}, "spec.app: Required"),
    ({"app": "-A proj"}, "app must be what celery -A takes"),
    ({"broker": None}, "spec.broker: Required"),
    # how tasks run
    ({"pool": "processes"}, 'supported values: "solo", "prefork", "threads", "gevent", "eventlet", "custom"'),
    ({"pool": "custom"}, "set both (customPool: my.module:TaskPool) or neither"),
    ({"customPool": "my.pool:TaskPool"}, "set both (customPool: my.module:TaskPool) or neither"),
    ({"pool": "custom", "customPool": "TaskPool"}, "customPool must name a class as module:Class"),
    ({"pool": "solo", "concurrency": 4}, "concurrency must be 1 or absent with pool: solo"),
    ({"concurrency": 0}, "spec.concurrency in body should be greater than or equal to 1"),
    ({"concurrency": 10_001}, "spec.concurrency in body should be less than or equal to 10000"),
    ({"queues": []}, "spec.queues in body should have at least 1 items"),
    ({"queues": ["a", "b", "a"]}, 'spec.queues[2]: Duplicate value: "a"'),
    ({"queues": ["a,b"]}, "give each queue its own entry of the list"),
    ({"queues": ["a\x1bb"]}, "a queue's name must not hold line ends or other control characters"),
    ({"queues": [f"q{n}" for n in range(51)]}, "spec.queues: Too many: 51: must have at most 50 items"),
    ({"launcher": []}, "spec.launcher in body should have at least 1 items"),
    # broker
    (broker(), "exactly one of url and urlFrom"),
    (broker(url="redis://redis", urlFrom=SECRET), "exactly one of url and urlFrom"),
    (broker(url="redis://redis", keyPrefix="a\r\nQUIT\r\n"), "broker.keyPrefix must not hold line ends"),
    (broker(url="sentinel://a:26379", sentinelMaster="a\u2028b"), "broker.sentinelMaster must not hold line ends"),
    (broker(urlFrom={"secretKeyRef": {"name": "broker"}}), "spec.broker.urlFrom.secretKeyRef.key: Required"),
    (broker(url=f"redis://:{PASSWORD}@redis:6379/0"), "put it in a Secret and name that in broker.urlFrom"),
    (broker(url=f"rediss://user:{PASSWORD}@redis/0"), "put it in a Secret and name that in broker.urlFrom"),
    (broker(url=f"redis://redis/0?password={PASSWORD}"), "put it in a Secret and name that in broker.urlFrom"),
    (broker(url=f"redis+socket://:{PASSWORD}@/run/redis.sock"), "put it in a Secret and name that in broker.urlFrom"),
    (broker(url=f"sentinel://:{PASSWORD}@a", sentinelMaster="m"), "put it in a Secret and name that in broker.urlFrom"),
    (broker(url="amqp://rabbit"), "broker.url must begin with redis://, rediss://, sentinel:// or redis+socket://"),
    (broker(url="redis-cluster://redis:6379"), "names a Redis Cluster, for which Celery (kombu) has no transport"),
    (broker(url="rediss+cluster://redis:6379"), "names a Redis Cluster, for which Celery (kombu) has no transport"),
    (broker(url="redis://a;redis://b"), "broker.url must name one Redis"),
    (broker(url="redis:///0"), "broker.url must look like redis://HOST:PORT/DB"),
    (broker(url="redis://redis/prod"), "DB a number"),
    (broker(url="redis://redis /0"), "broker.url must not hold spaces"),
    (broker(url="redis+socket://run/redis.sock"), "the socket's absolute path"),
    (broker(url="sentinel://a:26379;b:26379", sentinelMaster="m"), "each host with its own sentinel://"),
    (broker(url="sentinel://a:26379"), "broker.sentinelMaster is missing"),
    (broker(url="redis://a", sentinelMaster="m"), "broker.sentinelMaster goes with a sentinel:// url only"),
    (broker(url="redis://a", tls={"caFrom": SECRET}), "begin broker.url with rediss://, or drop tls"),
    (broker(url="rediss://a", tls={}), "broker.tls is empty"),
    (broker(url="rediss://a", tls=CERTIFICATE_ALONE), "certificateFrom and privateKeyFrom together"),
    (broker(url="redis://a", sentinel={"passwordFrom": SECRET}), "broker.sentinel goes with sentinelMaster"),
    (broker(url="redis://redis?db=3"), "broker.url takes behind ? only"),
    (broker(url="rediss://redis?ssl_cert_reqs=none&credential_provider=a.B"), "broker.url takes behind ? only"),
    (broker(url="redis+socket:///run/redis.sock?db=3"), "broker.url of a socket takes behind ? only"),
    (sentinel({}), "broker.sentinel is empty"),
    (sentinel({"usernameFrom": SECRET, "tls": {"caFrom": SECRET}}), "usernameFrom needs passwordFrom beside it"),
    (sentinel({"tls": {}}), "broker.sentinel.tls is empty"),
    (sentinel({"tls": CERTIFICATE_ALONE}), "broker.sentinel.tls needs certificateFrom and privateKeyFrom together"),
    (broker(url="redis://a", prioritySteps=[3, 6]), "broker.prioritySteps must ascend from 0"),
    (broker(url="redis://a", prioritySteps=[0, 6, 3]), "broker.prioritySteps must ascend from 0"),
    (broker(url="redis://a", prioritySteps=[0, 3, 3]), "broker.prioritySteps must ascend from 0"),
    (broker(url="redis://a", separator=""), "spec.broker.separator in body should be at least 1 chars long"),
    # scaling
    ({"replicas": -1}, "spec.replicas in body should be greater than or equal to 0"),
    (scaling(minReplicas=3, maxReplicas=2), "scaling.minReplicas must not be above scaling.maxReplicas"),
    (scaling(minReplicas=21), "scaling.minReplicas must not be above scaling.maxReplicas (20 where absent)"),
    (scaling(maxReplicas=0), "spec.scaling.maxReplicas in body should be greater than or equal to 1"),
    (scaling(target={}), "scaling.target needs exactly one of queueWaitSeconds and tasksPerSlot"),
    (scaling(target={"queueWaitSeconds": 1, "tasksPerSlot": 1}), "scaling.target needs exactly one of"),
    (scaling(target={"queueWaitSeconds": 0}), "scaling.target.queueWaitSeconds must be at least 0.1"),
    (scaling(target={"queueWaitSeconds": 0.05}), "scaling.target.queueWaitSeconds must be at least 0.1"),
    (scaling(target={"tasksPerSlot": 0}), "scaling.target.tasksPerSlot must be at least 0.01"),
    (scaling(fallback={"afterSeconds": 5}), "spec.scaling.fallback.replicas: Required"),
    (scaling(fallback={"replicas": 21}), "scaling.fallback.replicas must not be above scaling.maxReplicas"),
    (scaling(minReplicas=2, fallback={"replicas": 1}), "scaling.fallback.replicas must not be below"),
    (scaling(mode="Off"), 'supported values: "Auto", "DryRun", "Paused"'),
    (
        scale_up(stabilizationWindowSeconds=3601),
        "stabilizationWindowSeconds in body should be less than or equal to 3600",
    ),
    (
        scale_up(stabilizationWindowSeconds=-1),
        "stabilizationWindowSeconds in body should be greater than or equal to 0",
    ),
    (scale_up(tolerance=-0.1), "tolerance in body should be greater than or equal to 0"),
    (scale_up(tolerance="-100m"), "scaleUp.tolerance in body should match"),
    (scale_up(tolerance={"a": 1}), "scaleUp.tolerance: Too many"),
    (scale_up(policies=[]), "scaleUp.policies in body should have at least 1 items"),
    (
        scale_up(policies=[{**POLICY, "periodSeconds": 1801}]),
        "periodSeconds in body should be less than or equal to 1800",
    ),
    (scale_up(policies=[{**POLICY, "periodSeconds": 0}]), "periodSeconds in body should be greater than or equal to 1"),
    (scale_up(policies=[{**POLICY, "value": 0}]), "value in body should be greater than or equal to 1"),
    (scale_up(policies=[{"type": "Pods", "value": 1}]), "periodSeconds: Required"),
    (scale_up(selectPolicy="Average"), 'supported values: "Max", "Min", "Disabled"'),
    # worker
    ({"pool": "threads", "worker": {"maxTasksPerChild": 1}}, "worker.maxTasksPerChild works only with pool: prefork"),
    ({"pool": "gevent", "worker": {"maxMemoryPerChildKiB": 9}}, "set template.spec.resources.limits.memory"),
    ({"pool": "gevent", "worker": {"softTimeLimitSeconds": 9}}, "Celery ignores it elsewhere: drop it, or use prefork"),
    ({"pool": "solo", "worker": {"timeLimitSeconds": 9}}, "Celery ignores it elsewhere: drop it, or use prefork"),
    ({"worker": {"softTimeLimitSeconds": 60, "timeLimitSeconds": 60}}, "must be below worker.timeLimitSeconds"),
    ({"agent": "on"}, 'supported values: "enabled", "drain", "inflight", "report", "disabled"'),
    ({"agent": "report", "worker": {"rejectOnWorkerLost": True}}, "set agent: inflight or drain, or drop it"),
    ({"agent": "disabled", "worker": {"rejectOnWorkerLost": False}}, "set task_reject_on_worker_lost in the app"),
    (
        {"pool": "threads", "worker": {"rejectOnWorkerLost": True}},
        "worker.rejectOnWorkerLost works only with pool: prefork",
    ),
    ({"redelivery": {"maxAttempts": 0}}, "should be greater than or equal to 1"),
    ({"redelivery": {"maxAttempts": 101}}, "should be less than or equal to 100"),
    ({"worker": {"logLevel": "TRACE"}}, 'supported values: "DEBUG", "INFO"'),
    ({"worker": {"prefetchMultiplier": 0}}, "prefetchMultiplier in body should be greater than or equal to 1"),
    (argument("-A"), "set spec.app"),
    (argument("--app=proj"), "set spec.app"),
    (argument("-b"), "set spec.broker"),
    (argument("--broker=redis://redis"), "set spec.broker"),
    (argument("-Qother"), "set spec.queues"),
    (argument("--queues"), "set spec.queues"),
    (argument("-X"), "leave the queue out of spec.queues"),
    (argument("-Psolo"), "set spec.pool"),
    (argument("--pool=solo"), "set spec.pool"),
    (argument("-c4"), "set spec.concurrency"),
    (argument("-Ec4"), "set spec.concurrency"),
    (argument("--concurrency=4"), "set spec.concurrency"),
    (argument("--autoscale=10,1"), "set spec.concurrency and spec.scaling"),
    (argument("-nworker"), "each worker is named after its pod"),
    (argument("--hostname=w1"), "each worker is named after its pod"),
    (argument("-B"), "run celery beat on its own, with one replica"),
    (argument("-EB"), "run celery beat on its own, with one replica"),
    (argument("--beat"), "run celery beat on its own, with one replica"),
    (argument("-D"), "stays in the foreground"),
    (argument("--detach"), "stays in the foreground"),
    (argument("--pidfile=/x"), "extraArgs must not hold --pidfile"),
    (argument("--without-heartbeat"), "heartbeats are how a worker is seen"),
    (argument("--purge"), "run celery purge by hand"),
    (argument("-E"), "set spec.worker.events"),
    (argument("-lDEBUG"), "set spec.worker.logLevel"),
    (argument("--loglevel=DEBUG"), "set spec.worker.logLevel"),
    (argument("--prefetch-multiplier=1"), "set spec.worker.prefetchMultiplier"),
    (argument("--max-tasks-per-child=1"), "set spec.worker.maxTasksPerChild"),
    (argument("--max-memory-per-child=1"), "set spec.worker.maxMemoryPerChildKiB"),
    (argument("--soft-time-limit=1"), "set spec.worker.softTimeLimitSeconds"),
    (argument("--time-limit=1"), "set spec.worker.timeLimitSeconds"),
    (argument("--"), "put them into the app's configuration"),
    ({"drain": {"timeoutSeconds": 0}}, "spec.drain.timeoutSeconds in body should be greater than or equal to 1"),
    # pods
    ({"strategy": {"type": "Canary"}}, 'supported values: "RollingUpdate", "Recreate"'),
    ({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}, "goes with type: RollingUpdate only"),
    (rolling(maxSurge=0), "with maxSurge 0 set maxUnavailable to 1 or more"),
    (rolling(maxSurge="0%", maxUnavailable="0%"), "with maxSurge 0 set maxUnavailable to 1 or more"),
    (rolling(maxSurge="half"), "spec.strategy.rollingUpdate.maxSurge in body should match"),
    (rolling(maxUnavailable="101%"), "spec.strategy.rollingUpdate.maxUnavailable in body should match"),
    (rolling(maxSurge=-1), "spec.strategy.rollingUpdate.maxSurge in body should be greater than or equal to 0"),
    # pod security
    ({"podSecurity": "Privileged"}, 'supported values: "Baseline", "Restricted"'),
    *RESTRICTED,
    ({"template": {"metadata": {"labels": {"celeriac.dev/pool": "x"}}}}, "choose another prefix"),
    ({"deployment": {"annotations": {"celeriac.dev/x": "x"}}}, "choose another prefix"),
    ({"deployment": {"annotations": {"deployment.kubernetes.io/revision": "9"}}}, "choose another prefix"),
    ({"template": {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}}, "use app.kubernetes.io/component"),
    ({"template": {"metadata": {"annotations": {"celeriac.dev/x": "x"}}}}, "choose another prefix"),
    (pod(env=[{"name": "CELERY_BROKER_URL"}]), "set spec.broker"),
    (pod(env=[{"name": "CELERY_BROKER_READ_URL"}]), "set spec.broker"),
    (pod(env=[{"name": "CELERY_CUSTOM_WORKER_POOL"}]), "set spec.customPool"),
    (pod(env=[{"name": "CELERIAC_RUN_DIR"}]), "env must not set names that begin with CELERIAC_"),
    (pod(env=[{"name": "REMAP_SIGTERM", "value": "SIGQUIT"}]), "running tasks would be lost when a pod stops"),
    (pod(env=[{"name": "A"}, {"name": "A"}]), 'spec.template.spec.env[1]: Duplicate value: {"name":"A"}'),
    (pod(volumeMounts=[{"name": "x", "mountPath": "/run/celeriac"}]), "choose another path"),
    (pod(volumes=[{"name": "celeriac-run"}]), "choose another name"),
    (pod(sidecars=[{"name": "worker", "image": "x"}]), "choose another name"),
    (pod(sidecars=[{"name": "x", "image": "x", "restartPolicy": "Always"}]), "it is always Always"),
    (pod(initContainers=[{"name": "x", "image": "x", "restartPolicy": "Always"}]), "template.spec.sidecars"),
    (pod(resources={"limits": {"memory": "1GB"}}), "limits.memory in body should match"),
    (pod(resources={"limits": {"cpu": -1}}), "limits.cpu in body should be greater than or equal to 0"),
]
"""Fields laid over the spec of a minimal pool (None takes one away), and part of the message that refuses it."""
