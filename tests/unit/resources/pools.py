"""One pool for each golden manifest: the pool types, the security levels, the ways to name a broker."""

from dataclasses import replace

from celeriac.api.keys import PoolKey
from celeriac.pool.model import (
    BrokerSpec,
    PodSecurity,
    PodTemplate,
    PoolType,
    SecretKey,
    SentinelSecrets,
    TlsSecrets,
    WorkerOptions,
    WorkerPool,
)
from celeriac.scaling.policy import Policy

AGENT = {"__init__.py": "import celery\n", "agent.py": "import kombu\n"}
"""The files of an agent, for manifests only."""

SECRET_BROKER = BrokerSpec(url_from=SecretKey("broker", "url"))
TLS_BROKER = replace(
    SECRET_BROKER,
    tls=TlsSecrets(SecretKey("authority", "ca.pem"), SecretKey("client", "tls.crt"), SecretKey("client", "tls.key")),
)

SOLO = WorkerPool(
    key=PoolKey("shop", "ml"),
    uid="9f4f0a0e-2a0b-4f0c-9d53-0c7a8f1f2b11",
    generation=1,
    image="registry.example/shop:1.4",
    app="shop.ml:app",
    broker=BrokerSpec(url="redis://redis:6379/0"),
    policy=Policy(slots=1),
    queues=("ml_service",),
    pool_type=PoolType.SOLO,
)
PREFORK = replace(
    SOLO,
    key=PoolKey("shop", "batch"),
    broker=SECRET_BROKER,
    policy=Policy(slots=4),
    queues=("batch", "reports"),
    pool_type=PoolType.PREFORK,
    drain_timeout_seconds=700,
    worker=WorkerOptions(
        prefetch_multiplier=1,
        max_tasks_per_child=100,
        max_memory_per_child_kib=200_000,
        soft_time_limit_seconds=550,
        time_limit_seconds=600,
        events=True,
        log_level="WARNING",
        extra_args=("-O", "fair", "-I", "shop.extra"),
    ),
)
THREADS = replace(PREFORK, key=PoolKey("shop", "mail"), pool_type=PoolType.THREADS, worker=WorkerOptions())
GEVENT = replace(THREADS, policy=Policy(slots=100), pool_type=PoolType.GEVENT, launcher=("/venv/bin/python",))
EVENTLET = replace(GEVENT, pool_type=PoolType.EVENTLET, launcher=("tini", "--", "python"))
CUSTOM = replace(THREADS, pool_type=PoolType.CUSTOM, custom_pool="shop.pool:TaskPool")

BASELINE_TEMPLATE = replace(
    PREFORK,
    template=PodTemplate(
        labels={"team": "shop", "app.kubernetes.io/name": "mine"},
        annotations={"prometheus.io/scrape": "false"},
        spec={
            "imagePullPolicy": "Always",
            "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
            "env": [{"name": "CELERY_RESULT_BACKEND", "value": "$(CELERY_BROKER_URL)"}],
            "envFrom": [{"configMapRef": {"name": "shop"}}],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
            "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "batch", "operator": "Exists"}],
            "serviceAccountName": "shop",
            "securityContext": {"fsGroup": 1000},
        },
    ),
)
RESTRICTED = replace(SOLO, pod_security=PodSecurity.RESTRICTED)
RESTRICTED_TEMPLATE = replace(
    RESTRICTED,
    template=PodTemplate(
        spec={
            "securityContext": {"runAsUser": 1000, "runAsNonRoot": False},
            "initContainers": [{"name": "fetch", "image": "registry.example/fetch:1"}],
            "sidecars": [
                {"name": "proxy", "image": "registry.example/proxy:1"},
                {
                    "name": "logs",
                    "image": "registry.example/logs:1",
                    "securityContext": {
                        "runAsUser": 2000,
                        "runAsNonRoot": True,
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                },
            ],
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "5Gi"}}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/tmp/"}],
        }
    ),
)
OWN_CONTAINER = replace(
    RESTRICTED,
    deployment_annotations={"reloader.example.com/auto": "true"},
    template=PodTemplate(
        spec={
            "resources": {"claims": [{"name": "gpu"}]},
            "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
            "containerSecurityContext": {"runAsUser": 1000, "readOnlyRootFilesystem": False},
            "lifecycle": {"preStop": {"exec": {"command": ["/app/leave"]}}},
        }
    ),
)
TLS = replace(PREFORK, broker=TLS_BROKER)
SENTINEL = replace(
    PREFORK,
    broker=BrokerSpec(
        url_from=SecretKey("broker", "url"),
        sentinel_master="mymaster",
        sentinel=SentinelSecrets(
            SecretKey("sentinel", "user"),
            SecretKey("sentinel", "password"),
            TlsSecrets(SecretKey("authority", "ca.pem")),
        ),
    ),
)

POOLS = {
    "solo": SOLO,
    "prefork": PREFORK,
    "threads": THREADS,
    "gevent": GEVENT,
    "eventlet": EVENTLET,
    "custom": CUSTOM,
    "baseline-template": BASELINE_TEMPLATE,
    "restricted": RESTRICTED,
    "restricted-template": RESTRICTED_TEMPLATE,
    "own-container": OWN_CONTAINER,
    "tls": TLS,
    "sentinel": SENTINEL,
}
WITH_AGENT = {"prefork": PREFORK, "tls": replace(TLS, worker=WorkerOptions(), max_attempts=3)}
