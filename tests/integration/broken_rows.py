"""Broken pools, and what a person reads of each: in describe, in its events, in the log and from the plugin."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tests.integration.kube import Body
from tests.integration.kubelet import FakePod

PASSWORD: Final = "hunter2"
"""It stands in what some containers say; nobody may repeat it."""
FRAMES: Final = 'Traceback (most recent call last):\n  File "/app/proj.py", line 1, in <module>\n    start()\n'
USAGE: Final = "Usage: python -m celery [OPTIONS] COMMAND [ARGS]...\nTry 'python -m celery --help' for help.\n\n"
LOADING: Final = f"{USAGE}Error: Invalid value for '-A' / '--app': \nUnable to load celery application.\n"


@dataclass(frozen=True)
class Broken:
    """One pool: why it is broken, by its reason, in words that must be read, and what to do, likewise.

    befalls    what its only Pod is told to have befallen; None: it has none, or none is needed
    namespace  a word for one of its own
    """

    pool: str
    reason: str
    cause: str
    cure: str
    befalls: Callable[[FakePod], None] | None = None
    spec: Body = field(default_factory=dict)
    namespace: str = ""
    url: str | None = None
    condition: str = "Ready"
    status: str = "False"


def crash(pool: str, log: str, cause: str, cure: str, *, code: int = 1, reason: str = "Error") -> Broken:
    """Its worker keeps ending."""
    return Broken(pool, "CrashLoop", cause, cure, partial(_crashes, log=log, code=code, reason=reason))


def waiting(pool: str, reason: str, kubelet: str, words: str, cause: str, cure: str) -> Broken:
    """Its worker's container does not start, in the kubelet's words."""
    return Broken(pool, reason, cause, cure, partial(_waits, kubelet=kubelet, words=words))


def unschedulable(pool: str, words: str, cause: str, cure: str) -> Broken:
    """No node takes its Pod, in the scheduler's words."""
    return Broken(pool, "Unschedulable", cause, cure, partial(_finds_no_node, words=words))


def refused(pool: str, reason: str, cause: str, cure: str, **template: Any) -> Broken:
    """The API server admits no Pod of it, in a namespace of its own."""
    return Broken(pool, reason, cause, cure, spec={"template": {"spec": template}} if template else {}, namespace=pool)


def broker(pool: str, reason: str, cause: str, cure: str, url: str | None = None) -> Broken:
    """Its broker cannot be read."""
    return Broken(pool, reason, cause, cure, url=url, condition="BrokerReachable")


def _crashes(pod: FakePod, log: str, code: int, reason: str) -> None:
    pod.crashes(log, code=code, reason=reason)


def _waits(pod: FakePod, kubelet: str, words: str) -> None:
    pod.waits(kubelet, words)


def _finds_no_node(pod: FakePod, words: str) -> None:
    pod.finds_no_node(words)


MISSING: Final = "ModuleNotFoundError: No module named 'myproject'"
ERRORS: Final = ("ImagePullFailed", "ErrImagePull")
ROWS: Final = (
    # the worker ends
    crash("import-fails", FRAMES + MISSING, MISSING, "the image has no module myproject"),
    crash("no-module", f"{LOADING}The module myproject was not found.", MISSING, "correct spec.app"),
    crash(
        "import-behind",
        f"{LOADING}While trying to load the module proj the following error occurred:\n{FRAMES}{MISSING}",
        *(MISSING, "the image has no module myproject"),
    ),
    crash("no-app", f"{LOADING}Module 'proj' has no attribute 'celery'", "has no attribute 'celery'", "spec.app"),
    crash(
        "bad-option", f"{USAGE}Error: No such option: --frob", "No such option: --frob", "correct spec.worker.extraA"
    ),
    crash("no-gevent", f"{FRAMES}ModuleNotFoundError: No module named 'gevent'", "'gevent'", "celery[gevent]"),
    crash(
        "no-variable", f"{FRAMES}KeyError: 'DATABASE_URL'", "KeyError: 'DATABASE_URL'", "set the variable DATABASE_U"
    ),
    crash(
        "no-python-3", f"{FRAMES}SyntaxError: invalid syntax", "SyntaxError: invalid syntax", "made for another Pyth"
    ),
    crash(
        "database",
        f"{FRAMES}OperationalError: postgresql://shop:{PASSWORD}@db/shop: Connection refused",
        *("postgresql://***@db/shop: Connection refused", "connects to a service that does not answer"),
    ),
    crash("script", "/app/start.sh: line 3: celery: command not found", "command not found", "correct spec.launcher"),
    crash("other-cpu", "exec /usr/bin/python: exec format error", "exec format error", "nodeSelector"),
    crash("memory", "", "exit code 137, OOMKilled", "raise resources.limits.memory", code=137, reason="OOMKilled"),
    crash("killed", f"{FRAMES}ValueError: {PASSWORD}", "exit code 137", "somebody killed it", code=137),
    crash(
        "task-said", f"[x: ERROR/MainProcess] Task t[1] raised unexpected\npaid {PASSWORD}", "code 1", "its log says"
    ),
    # its container does not start
    waiting("no-image", *ERRORS, "docker.io/library/app:nope: not found", "app:nope: not found", "correct the name or"),
    waiting("no-right", *ERRORS, "pull access denied, authorization failed", "pull access denied", "imagePullSecrets"),
    waiting("no-arch", *ERRORS, "no match for platform in manifest: not found", "no match for platform", "node's CPU"),
    waiting(
        *("as-root", "ContainerConfigError", "CreateContainerConfigError"),
        *("container has runAsNonRoot and image will run as root", "image will run as root", "USER 1000"),
    ),
    waiting(
        *("as-somebody", "ContainerConfigError", "CreateContainerConfigError"),
        "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root",
        *("non-numeric user (app)", "the image's user must be a number"),
    ),
    waiting(
        *("no-secret", "ContainerConfigError", "CreateContainerConfigError", 'secret "token" not found'),
        *('secret "token" not found', "create the secret token in the pool's namespace"),
    ),
    waiting(
        *("no-configmap", "ContainerConfigError", "CreateContainerConfigError", 'configmap "settings" not found'),
        *('configmap "settings" not found', "create the configmap settings"),
    ),
    waiting(
        *("no-key", "ContainerConfigError", "CreateContainerConfigError", "couldn't find key url in Secret shop/token"),
        *("couldn't find key url", "add the key url to the Secret shop/token"),
    ),
    waiting(
        *("no-python", "StartFailed", "RunContainerError", 'exec: "python": executable file not found in $PATH'),
        *("executable file not found", "set spec.launcher to how Python starts"),
    ),
    Broken(
        *("no-volume", "ContainerConfigError", "there is no ConfigMap settings", "create it in the pool's namespace"),
        FakePod.has_no_volumes,
        {"template": {"spec": {"volumes": [{"name": "settings", "configMap": {"name": "settings"}}]}}},
    ),
    # no node takes its Pod
    unschedulable(
        "no-claim", '0/3 nodes are available: persistentvolumeclaim "models" not found.', "models", "create the"
    ),
    Broken(
        *(
            "no-room",
            "Unschedulable",
            "3 Insufficient cpu",
            "or lower spec.replicas, its pin (kubectl celery pin no-room",
        ),
        partial(_finds_no_node, words="0/3 nodes are available: 3 Insufficient cpu."),
        {"replicas": 1},
    ),
    unschedulable(
        *("tainted", "0/3 nodes are available: 3 node(s) had untolerated taint {dedicated: batch}."),
        *("untolerated taint", "add a toleration for the taint dedicated: batch"),
    ),
    # no Pod of it is admitted
    refused("quota", "QuotaExceeded", "exceeded quota: narrow", "raise pods in the ResourceQuota narrow"),
    refused(
        "quota-asks", "QuotaExceeded", "failed quota: asks: must specify limits.cpu", "spec.template.spec.resources"
    ),
    refused(
        *(
            "range",
            "PodRefused",
            "maximum memory usage per Container is 64Mi",
            "lower spec.template.spec.resources.limits",
        ),
        resources={"limits": {"memory": "1Gi"}},
    ),
    refused(
        "strict", "PodSecurityRefused", 'violates PodSecurity "restricted:latest"', "set spec.podSecurity: Restricted"
    ),
    refused(
        *(
            "strict-mount",
            "PodSecurityRefused",
            "restricted volume types",
            "drop what it names from spec.template.spec",
        ),
        volumes=[{"name": "node", "hostPath": {"path": "/"}}],
    ),
    refused("account", "PodRefused", "serviceaccount", "create the ServiceAccount nobody", serviceAccountName="nobody"),
    # its broker
    broker("no-broker", "SecretNotFound", "no-broker", "create"),
    broker(
        "no-host",
        "ConnectionFailed",
        "nobody.invalid",
        "check that the Service exists",
        "redis://nobody.invalid:6379/0",
    ),
    Broken("invalid", "InvalidSpec", "broker.url", "HOST:PORT/DB", url="redis://redis:99999/0"),
    # all is right, but a name
    Broken(
        *("misspelled", "SimilarQueue", "'mail_outbond'", "correct spec.queues, or the name to which tasks are sent"),
        spec={"queues": ["mail_outbond"], "scaling": {"minReplicas": 0}},
        condition="QueueLooksMisspelled",
        status="True",
    ),
)
