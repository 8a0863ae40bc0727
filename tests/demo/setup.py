"""From a cluster to a system that waits for tasks: images, operator (by its chart), Redis, pools, and a client pod."""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import images, tools
from tests.cluster.errors import ClusterError
from tests.cluster.images import Image
from tests.cluster.process import run
from tests.cluster.progress import step
from tests.cluster.target import NamedCluster, Target
from tests.demo.pools import IMAGE, POOLS, SAMPLES

ROOT = Path(__file__).parents[2]
NAMESPACE = "celeriac-demo"
OPERATOR_NAMESPACE = "celeriac"
CLIENT = "client"
CRD = "celeryworkerpools.celeriac.dev"
CRDS = (CRD, "celerypoolrequests.celeriac.dev")
OPERATOR = Image("celeriac:dev", ROOT / "operator" / "Dockerfile", ROOT)
DEMO = Image(IMAGE, ROOT / "worker-image" / "Dockerfile", ROOT / "worker-image")
TIMEOUT = "--timeout=180s"


@contextmanager
def system(target: Target, *, keep: bool) -> Iterator[None]:
    """The running system; gone at the end, also after an error, unless `keep`."""
    _refuse_to_disturb(target)
    try:
        set_up(target)
        yield
    except ClusterError as error:
        raise ClusterError(f"{error}\n\n{diagnosis(target)}") from error
    finally:
        if not keep:
            tear_down(target)


def _refuse_to_disturb(target: Target) -> None:
    """Raise ClusterError when someone else's Celeriac is in the cluster: its pools would go with the demo's end."""
    here = target.kubectl("get", f"crd/{CRD}", f"namespace/{NAMESPACE}", "--ignore-not-found", "--output=name").split()
    if len(here) == 1 and here[0].endswith(CRD):
        raise ClusterError(f"Celeriac is installed in {target.description}: run the demo in a cluster without it")


def set_up(target: Target) -> None:
    """Install everything and wait until it is ready; raises ClusterError with the cure where there is one."""
    for image in (images.REDIS, OPERATOR, DEMO):
        target.provide(image)
    with step("start Redis, the web service and a client"):
        target.kubectl("apply", "--filename=-", stdin=_namespace())
        _in_demo(target, "apply", f"--filename={SAMPLES / 'redis.yaml'}")
        _in_demo(target, "apply", "--filename=-", stdin=yaml.safe_dump_all([broker_secret(), client_pod()]))
        _in_demo(target, "apply", f"--filename={SAMPLES / 'web.yaml'}")
    with step("install the operator with its chart"):
        _helm(target, "upgrade", "--install", "celeriac", str(ROOT / "charts" / "celeriac"), *_values())
        target.kubectl("rollout", "status", f"--namespace={OPERATOR_NAMESPACE}", "deployment/celeriac", TIMEOUT)
    with step("create the pools, at zero"):
        _in_demo(target, "rollout", "status", "deployment/redis", TIMEOUT)
        _in_demo(target, "wait", "--for=condition=Ready", f"pod/{CLIENT}", TIMEOUT)
        _in_demo(target, "rollout", "status", "deployment/web", TIMEOUT)
        _in_demo(target, "apply", "--filename=-", stdin=yaml.safe_dump_all(pool.manifest() for pool in POOLS))
        _in_demo(target, "wait", "--for=condition=BrokerReachable", "cwp", "--all", TIMEOUT)


def tear_down(target: Target) -> None:
    """Remove all that `set_up` made, the CustomResourceDefinitions included; safe to repeat."""
    with step("remove the demo"):
        _helm(target, "uninstall", "celeriac", "--ignore-not-found")
        things = (*(f"crd/{name}" for name in CRDS), f"namespace/{NAMESPACE}", f"namespace/{OPERATOR_NAMESPACE}")
        target.kubectl("delete", *things, "--ignore-not-found", "--wait=false")
        # Workers in the middle of a task would otherwise wait for their Redis, which goes with them.
        _in_demo(target, "delete", "pods", "--all", "--force", "--grace-period=0")
        target.kubectl("delete", *things, "--ignore-not-found")


def diagnosis(target: Target) -> str:
    """What there is in the cluster and what the operator said last, for a demo that failed."""
    questions = (
        ("get", "pods,deployments", "--all-namespaces"),
        ("get", "cwp", "--all-namespaces", "--output=wide"),
        ("get", "events", f"--namespace={NAMESPACE}", "--field-selector=type=Warning"),
        ("logs", f"--namespace={OPERATOR_NAMESPACE}", "deployment/celeriac", "--tail=20"),
    )
    return "\n".join(f"$ kubectl {' '.join(question)}\n{_answer(target, question)}" for question in questions)


def _answer(target: Target, question: tuple[str, ...]) -> str:
    try:
        return target.kubectl(*question)
    except ClusterError as error:
        return f"{error}\n"


def client_command(target: Target, *command: str) -> list[str]:
    """How to run a command of the demo image in the client pod."""
    kubectl = [str(tools.binary("kubectl")), f"--kubeconfig={target.kubeconfig}", f"--namespace={NAMESPACE}"]
    return [*kubectl, "exec", CLIENT, "--", *command]


def broker_secret() -> dict[str, Any]:
    """The sample's Secret, for the demo's namespace."""
    secret: dict[str, Any] = yaml.safe_load((SAMPLES / "broker-secret.yaml").read_text())
    return {**secret, "stringData": {"url": f"redis://redis.{NAMESPACE}:6379/0"}}


def client_pod() -> dict[str, Any]:
    """A pod of the demo image that only waits, for `kubectl exec`."""
    url = {"secretKeyRef": {"name": "broker", "key": "url"}}
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    container = {
        "name": CLIENT,
        "image": IMAGE,
        "command": ["sleep", "infinity"],
        "env": [{"name": "CELERY_BROKER_URL", "valueFrom": url}],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "securityContext": context,
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": CLIENT}, "spec": spec}


def _in_demo(target: Target, *arguments: str, stdin: str | None = None) -> str:
    return target.kubectl(f"--namespace={NAMESPACE}", *arguments, stdin=stdin)


def _namespace() -> str:
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})


def _helm(target: Target, *arguments: str) -> None:
    run([tools.binary("helm"), f"--kubeconfig={target.kubeconfig}", f"--namespace={OPERATOR_NAMESPACE}", *arguments])


def _values() -> list[str]:
    """A fresh annotation, so that a kept cluster gets the operator's new image under its old tag."""
    image = ["--set=image.repository=celeriac", "--set=image.tag=dev"]
    return ["--create-namespace", *image, f"--set-string=podAnnotations.installed={time.time():.0f}"]


def what_next(target: Target) -> str:
    """What a person can try by hand."""
    removal = "make cluster-down NAME=demo"
    if isinstance(target, NamedCluster):
        things = " ".join((*(f"crd/{name}" for name in CRDS), f"ns/{NAMESPACE}"))
        removal = f"helm uninstall celeriac -n {OPERATOR_NAMESPACE}; kubectl delete {things}"
    return f"""
The system is up. Try this next:
  export KUBECONFIG={shlex.quote(str(target.kubeconfig))} PATH="{tools.binary("kubectl").parent}:$PATH"
  kubectl config set-context --current --namespace={NAMESPACE}
  kubectl get cwp --watch                              # the pools, and in another terminal:
  kubectl exec {CLIENT} -- python -m celery_app.send --queue ml_service --count 40 --seconds 5
  kubectl port-forward service/web 8000:80             # and draw a digit: http://localhost:8000
  kubectl describe cwp ml                              # conditions and events in words
  kubectl get cwp -o wide                              # why that many replicas
  kubectl scale cwp/ml --replicas=3                    # pin, and unpin:
  kubectl patch cwp ml --type=merge -p '{{"spec":{{"replicas":null}}}}'
  kubectl explain cwp.spec.scaling
  {removal}
"""
