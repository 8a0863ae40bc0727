"""`celeriac convert`: Deployments as they are found in the wild, and what scaled them, as pools that lint takes."""

from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from celeriac.cli.main import main
from celeriac.pool.parse import parse_pool

pytestmark = pytest.mark.unit

PASSWORD = "s3cr3t"

DJANGO = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop-worker
  namespace: shop
  labels: {app: shop}
  annotations: {deployment.kubernetes.io/revision: "7", reloader.stakater.com/auto: "true"}
spec:
  replicas: 3
  revisionHistoryLimit: 10
  selector: {matchLabels: {app: shop}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}
  template:
    metadata:
      labels: {app: shop, app.kubernetes.io/name: shop}
      annotations: {kubectl.kubernetes.io/restartedAt: "2026-01-01T00:00:00Z"}
    spec:
      restartPolicy: Always
      dnsPolicy: ClusterFirst
      schedulerName: default-scheduler
      securityContext: {}
      terminationGracePeriodSeconds: 600
      serviceAccountName: shop
      automountServiceAccountToken: true
      initContainers: [{name: migrate, image: "shop:1", command: [python, manage.py, migrate]}]
      containers:
        - name: worker
          image: shop:1
          command: [celery, -A, shop, worker, -Q, "mail,reports", -c, "8", -l, info]
          args: [--max-tasks-per-child=100, -n, w@%h, -Ofair]
          env:
            - {name: CELERY_BROKER_URL, valueFrom: {secretKeyRef: {name: redis, key: url}}}
            - {name: DJANGO_SETTINGS_MODULE, value: shop.settings}
          envFrom: [{configMapRef: {name: shop}}]
          resources: {requests: {cpu: 500m}, limits: {memory: 1Gi}}
          livenessProbe: {exec: {command: [celery, inspect, ping]}}
          terminationMessagePath: /dev/termination-log
          terminationMessagePolicy: File
          securityContext: {runAsUser: 1000}
        - {name: cloudsql, image: "proxy:1"}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: shop, namespace: shop}
spec:
  scaleTargetRef: {name: shop-worker}
  minReplicaCount: 1
  cooldownPeriod: 120
  pollingInterval: 15
  fallback: {failureThreshold: 4, replicas: 3}
  advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleDown: {stabilizationWindowSeconds: 600}}}}
  triggers:
    - type: redis
      metadata: {address: "redis.shop:6379", listName: mail, listLength: "16", databaseIndex: "1"}
      authenticationRef: {name: redis}
    - {type: redis, metadata: {address: "redis.shop:6379", listName: other, listLength: "40",
        activationListLength: "5"}}
    - {type: cron, metadata: {timezone: UTC, start: 0 6 * * *, end: 0 20 * * *, desiredReplicas: "10"}}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: redis, namespace: shop}
spec: {secretTargetRef: [{parameter: password, name: redis, key: password}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
"""


def run(text: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["convert", "-f", "-", *options], input=text)


def converted(text: str, *options: str) -> tuple[dict[str, Any], str]:
    """The one pool, which the operator takes as it is, and what is said of it."""
    result = run(text, *options)
    assert result.exit_code == 0, result.output
    [pool] = yaml.safe_load_all(result.stdout)
    parse_pool(pool)
    return pool, result.stderr


def deployment(command: Any = None, **fields: Any) -> str:
    """With one container."""
    pod = fields.pop("pod", {})
    container = {"name": "main", "image": "shop:1", "command": command, **fields}
    spec = {"replicas": 2, "template": {"spec": {"containers": [container], **pod}}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": spec}
    return "---\n" + yaml.safe_dump(body)


def worker(line: str, **fields: Any) -> tuple[dict[str, Any], str]:
    pool, said = converted(deployment(line.split(), **{"env": BROKER, **fields}))
    return pool["spec"], said


BROKER = [{"name": "CELERY_BROKER_URL", "value": "redis://redis:6379/0"}]


def test_a_django_worker_that_keda_scales() -> None:
    pool, said = converted(DJANGO)
    assert pool["metadata"] == {"name": "shop-worker", "namespace": "shop", "labels": {"app": "shop"}}
    assert pool["spec"] == {
        "image": "shop:1",
        "app": "shop",
        "queues": ["mail", "reports"],
        "concurrency": 8,
        "broker": {"urlFrom": {"secretKeyRef": {"name": "redis", "key": "url"}}},
        "scaling": {
            "minReplicas": 1,
            "maxReplicas": 100,
            "scaleToZeroAfterSeconds": 120,
            "fallback": {"afterSeconds": 60, "replicas": 3},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
            "target": {"tasksPerSlot": 2},
        },
        "worker": {"maxTasksPerChild": 100, "extraArgs": ["-Ofair"]},
        "drain": {"timeoutSeconds": 600},
        "deployment": {"annotations": {"reloader.stakater.com/auto": "true"}},
        "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {
                "env": [{"name": "DJANGO_SETTINGS_MODULE", "value": "shop.settings"}],
                "envFrom": [{"configMapRef": {"name": "shop"}}],
                "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
                "containerSecurityContext": {"runAsUser": 1000},
                "serviceAccountName": "shop",
                "initContainers": [
                    {"name": "migrate", "image": "shop:1", "command": ["python", "manage.py", "migrate"]}
                ],
                "sidecars": [{"name": "cloudsql", "image": "proxy:1"}],
            },
        },
    }
    for words in (
        "command: -n/--hostname is dropped",
        "triggers[2] (cron): is dropped",
        "triggers[1].activation: is dropped",
        "spec.queues: the trigger counted 'other'",
        "of the triggers' lengths the least counts for all queues: 16",
        "pollingInterval: is dropped",
        "template.spec.automountServiceAccountToken: is dropped",
        "container.livenessProbe: is dropped",
        "template.metadata.labels[app.kubernetes.io/name]: is dropped",
        "template.spec.containers[cloudsql]: becomes a native sidecar",
        "Service shop: stays as it is",
    ):
        assert words in said, words
    for default in ("revisionHistoryLimit", "schedulerName", "restartedAt", "CELERY_BROKER_URL"):
        assert default not in said


def test_remarks_stand_above_the_pool_as_well() -> None:
    out = run(DJANGO).stdout
    head = out.partition("apiVersion")[0].splitlines()
    assert head[0] == "# Made of Deployment shop-worker, ScaledObject shop by celeriac convert."
    assert all(line.startswith("# ") for line in head)
    assert "# - command: -n/--hostname is dropped: each worker is named after its pod" in head


def test_an_hpa_gives_its_bounds_and_its_behavior_and_its_metrics_are_told() -> None:
    hpa = """
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  minReplicas: 2
  maxReplicas: 12
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}
    - type: External
      external: {metric: {name: celery_queue_length}, target: {type: AverageValue, averageValue: "10"}}
  behavior: {scaleUp: {policies: [{type: Pods, value: 4, periodSeconds: 60}]}}
"""
    line = ["celery", "-A", "shop", "worker", "-P", "threads", "-c", "20"]
    pool, said = converted(deployment(line, env=BROKER) + hpa)
    assert pool["spec"]["scaling"] == {
        "minReplicas": 2,
        "maxReplicas": 12,
        "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]}},
    }
    assert pool["spec"]["pool"] == "threads"
    assert "hpa.metrics[0]: Resource cpu is dropped" in said
    assert "hpa.metrics[1]: External celery_queue_length is dropped" in said


@pytest.mark.parametrize(
    ("command", "launcher"),
    [
        (["celery"], None),
        (["/venv/bin/celery"], ["/venv/bin/python"]),
        (["python", "-m", "celery"], None),
        (["python3.12", "-m", "celery"], ["python3.12"]),
        (["tini", "--", "celery"], ["tini", "--", "python"]),
        (["poetry", "run", "celery"], ["poetry", "run", "python"]),
        (["newrelic-admin", "run-program", "/app/bin/celery"], ["newrelic-admin", "run-program", "/app/bin/python"]),
    ],
)
def test_the_launcher_is_what_stands_before_celery(command: list[str], launcher: list[str] | None) -> None:
    pool, _ = converted(deployment([*command, "-A", "shop", "worker"], env=BROKER))
    assert pool["spec"].get("launcher") == launcher


@pytest.mark.parametrize(
    "text",
    [
        "celery -A shop worker -Q a,b -c 3",
        "exec celery --app=shop worker --queues=a,b --concurrency=3",
        "python manage.py migrate && exec celery -A shop worker -Qa,b -c3",
        "cd /app; celery -A shop \\\n  worker \\\n  -Q $QUEUES -c ${SLOTS:-3}",
    ],
)
def test_a_shells_text_is_read_and_no_shell_is_needed(text: str) -> None:
    env = [*BROKER, {"name": "QUEUES", "value": "a,b"}]
    pool, _ = converted(deployment(["/bin/sh", "-c", text], env=env))
    assert {name: pool["spec"][name] for name in ("app", "queues", "concurrency")} == {
        "app": "shop",
        "queues": ["a", "b"],
        "concurrency": 3,
    }
    assert "launcher" not in pool["spec"]


def test_what_ran_before_the_worker_is_told() -> None:
    text = "./wait-for redis:6379 && python manage.py migrate && FOO=1 celery -A shop worker"
    _, said = converted(deployment(["bash", "-ec", text], env=BROKER))
    assert "'./wait-for redis:6379' ran before the worker and is dropped" in said
    assert "'python manage.py migrate' ran before the worker" in said
    assert "FOO was set by the shell" in said


def test_options_of_celery_become_fields() -> None:
    spec, said = worker(
        "celery -A shop worker -P prefork -c 4 -E -l debug --prefetch-multiplier 1 --max-memory-per-child 200000"
        " --soft-time-limit=50 --time-limit=60.0 -I shop.late --without-gossip"
    )
    assert spec["worker"] == {
        "prefetchMultiplier": 1,
        "maxMemoryPerChildKiB": 200_000,
        "softTimeLimitSeconds": 50,
        "timeLimitSeconds": 60,
        "events": True,
        "logLevel": "DEBUG",
        "extraArgs": ["-I", "shop.late"],
    }
    assert "pool" not in spec
    assert "gossip" not in said


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("-B", "-B/--beat is dropped"),
        ("--purge", "--purge is dropped"),
        ("-D", "-D/--detach is dropped"),
        ("--without-mingle", "--without-mingle is dropped"),
        ("--autoscale=10,3", "--autoscale is dropped, pods are what scales: its most, 10, is the concurrency"),
        ("--pidfile=/tmp/x", "--pidfile is dropped"),
        ("--logfile=/var/log/x", "-f/--logfile is dropped"),
        ("--strange=1", "--strange=1 is kept in spec.worker.extraArgs"),
    ],
)
def test_what_a_pool_does_otherwise_is_said(option: str, words: str) -> None:
    assert words in worker(f"celery -A shop worker {option}")[1]


def test_a_solo_worker_has_one_slot_and_a_worker_without_concurrency_is_asked_for_it() -> None:
    spec, said = worker("celery -A shop worker -P solo -c 1")
    assert (spec["pool"], "concurrency" in spec, "spec.concurrency" in said) == ("solo", False, False)
    assert "spec.concurrency: the worker had a slot for each CPU" in worker("celery -A shop worker")[1]


def test_without_an_autoscaler_the_replicas_are_the_bounds() -> None:
    spec, said = worker("celery -A shop worker -c 1")
    assert spec["scaling"] == {"minReplicas": 2, "maxReplicas": 2}
    assert "spec.scaling: 2 ran always" in said


@pytest.mark.parametrize(
    "url", [f"redis://:{PASSWORD}@redis:6379/0", "redis://:$(PASSWORD)@redis/0", f"amqp://shop:{PASSWORD}@rabbit//"]
)
@pytest.mark.parametrize("where", ["env", "command"])
def test_a_url_that_belongs_into_a_secret_is_not_printed(url: str, where: str) -> None:
    line = ["celery", "-A", "shop", *(["-b", url] if where == "command" else []), "worker"]
    result = run(deployment(line, env=[{"name": "CELERY_BROKER_URL", "value": url}] if where == "env" else []))
    assert PASSWORD not in result.output
    pool = yaml.safe_load(result.stdout)
    assert pool["spec"]["broker"] == {"urlFrom": {"secretKeyRef": {"name": "shop-broker", "key": "url"}}}
    assert "kubectl create secret generic shop-broker" in result.stderr
    assert ("reads Redis only" in result.stderr) == url.startswith("amqp")


def test_the_broker_is_found_in_the_variables_that_apps_use_and_in_the_trigger() -> None:
    spec, said = worker("celery -A shop worker", env=[{"name": "REDIS_URL", "value": "redis://redis:6379/2"}])
    assert spec["broker"] == {"url": "redis://redis:6379/2"}
    assert "taken from the variable REDIS_URL" in said
    assert spec["template"]["spec"]["env"] == [{"name": "REDIS_URL", "value": "redis://redis:6379/2"}]
    scaled = """
---
kind: ScaledObject
apiVersion: keda.sh/v1alpha1
metadata: {name: shop, annotations: {autoscaling.keda.sh/paused-replicas: "0"}}
spec:
  scaleTargetRef: {name: shop}
  triggers:
    - type: redis-sentinel
      metadata: {addresses: "a:26379,b:26379", sentinelMaster: mymaster, listName: celery, listLength: "10"}
"""
    pool, said = converted(deployment(["celery", "-A", "shop", "worker", "-c", "10"]) + scaled)
    assert pool["spec"]["broker"] == {
        "url": "sentinel://a:26379/0;sentinel://b:26379/0",
        "sentinelMaster": "mymaster",
    }
    assert pool["spec"]["replicas"] == 0
    assert pool["spec"]["scaling"]["target"] == {"tasksPerSlot": 1}
    assert "taken from the trigger" in said


def test_a_rabbitmq_trigger_gives_its_length_and_says_that_the_queues_must_move() -> None:
    scaled = """
---
kind: ScaledObject
apiVersion: keda.sh/v1alpha1
metadata: {name: shop}
spec:
  scaleTargetRef: {name: shop}
  triggers: [{type: rabbitmq, metadata: {queueName: celery, mode: QueueLength, value: "20", hostFromEnv: AMQP}}]
"""
    env = [{"name": "CELERY_BROKER_URL", "valueFrom": {"secretKeyRef": {"name": "rabbit", "key": "url"}}}]
    pool, said = converted(deployment(["celery", "-A", "shop", "worker", "-c", "4"], env=env) + scaled)
    assert pool["spec"]["scaling"]["target"] == {"tasksPerSlot": 5}
    assert "triggers[0] (rabbitmq): Celeriac reads Redis only" in said


def test_an_airflow_worker() -> None:
    env = [
        {"name": "AIRFLOW__CELERY__BROKER_URL", "valueFrom": {"secretKeyRef": {"name": "airflow", "key": "connection"}}}
    ]
    pool, said = converted(deployment(["bash", "-c", "exec airflow celery worker -q default,gpu -c 16"], env=env))
    spec = pool["spec"]
    assert spec["app"] == "airflow.providers.celery.executors.celery_executor:app"
    assert (spec["queues"], spec["concurrency"]) == (["default", "gpu"], 16)
    assert spec["broker"]["urlFrom"]["secretKeyRef"]["name"] == "airflow"
    assert "airflow celery worker also serves logs" in said


def test_an_image_that_starts_the_worker_by_itself_needs_the_app() -> None:
    text = deployment(None, env=BROKER)
    result = run(text)
    assert result.exit_code == 1
    assert "give --app" in result.stderr
    pool, _ = converted(text, "--app", "shop")
    assert pool["spec"]["app"] == "shop"


def test_beat_flower_and_other_workloads_stay() -> None:
    texts = [
        deployment(["celery", "-A", "shop", "beat"]).replace("name: shop", "name: beat"),
        deployment(["celery", "-A", "shop", "flower"]).replace("name: shop", "name: flower"),
        deployment(["gunicorn", "shop"]).replace("name: shop", "name: web"),
        deployment(["celery", "-A", "shop", "worker"], env=BROKER),
    ]
    result = run("".join(texts))
    assert [each["metadata"]["name"] for each in yaml.safe_load_all(result.stdout)] == ["shop"]
    assert "Deployment beat: runs celery beat: leave it as it is, with one replica" in result.stderr
    assert "Deployment flower: runs celery flower" in result.stderr
    assert "Deployment web: no container's command starts a celery worker" in result.stderr


def test_the_deployment_of_a_pool_stays_whatever_it_starts() -> None:
    """As `kubectl get deployments -o yaml` gives it among the others."""
    deployments = [yaml.safe_load(deployment(None, env=BROKER)) for _ in range(2)]
    owner = {"kind": "CeleryWorkerPool", "name": "ml", "controller": True}
    deployments[1]["metadata"] |= {"name": "pool", "ownerReferences": [owner]}
    result = run(yaml.safe_dump_all(deployments), "--app", "shop")
    assert [each["metadata"]["name"] for each in yaml.safe_load_all(result.stdout)] == ["shop"]
    assert "Deployment pool: is of the pool ml" in result.stderr


def test_a_list_is_read_as_kubectl_gives_it_and_what_is_no_manifest_is_said() -> None:
    items = [yaml.safe_load(deployment(["celery", "-A", "shop", "worker"], env=BROKER))]
    pool, _ = converted(yaml.safe_dump({"kind": "List", "apiVersion": "v1", "items": items}))
    assert pool["metadata"]["name"] == "shop"
    assert "is no Kubernetes manifest" in run("just: text").output
    assert "cannot be read" in run("a: [").output


def test_help_teaches_the_next_steps() -> None:
    text = CliRunner().invoke(main, ["convert", "--help"]).output
    for words in ("scaledobject,triggerauthentication,hpa -o yaml", "celeriac lint", "kubectl delete deployment"):
        assert words in text
