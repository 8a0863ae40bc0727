"""What to do about what Kubernetes says of a Pod: the cure is chosen by the words, not by the kind of failure alone.

The words are those of the kubelet, of containerd and runc, and of the scheduler (Kubernetes 1.27 to 1.35).
Each list is gone through in its order, and the first that fits says what to do. What a pool would ask for fewer Pods by
is not known here: `celeriac.reporting.fewer` says it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

Cures = tuple[tuple[str, str], ...]
"""Words, searched for without regard to case, and the cure, which may name their groups: {name}."""

POD: Final = "spec.template.spec"

UNSCHEDULABLE: Final[Cures] = (
    (r"no nodes available to schedule", "the cluster has no node that takes Pods: add one, or kubectl uncordon it"),
    (
        r"persistentvolumeclaim \"?(?P<name>[\w.-]+)\"? not found",
        f"create the PersistentVolumeClaim {{name}}, or correct its name in {POD}.volumes",
    ),
    (
        r"unbound immediate PersistentVolumeClaims",
        "kubectl describe pvc says why the claim gets no volume: it needs a StorageClass that makes one",
    ),
    (
        r"volume node affinity conflict",
        "the volume is of another zone or node than those that have room: add a node there, or use a volume that every"
        " node reaches",
    ),
    (r"exceed max volume count", "the nodes hold as many volumes as they may: add nodes"),
    (
        r"Insufficient (?P<name>[\w.-]+/[\w-]+)",
        f"add nodes with free {{name}} (and its device plugin), or lower it in {POD}.resources",
    ),
    (
        r"Insufficient (?P<name>cpu|memory|ephemeral-storage|pods)",
        f"add nodes, or lower {{name}} in {POD}.resources.requests",
    ),
    (r"Too many pods", "the nodes run as many Pods as they may: add nodes"),
    (r"didn't have free ports", f"drop hostPort from {POD}.sidecars: one Pod on each node can have it"),
    (
        r"untolerated taint \{(?P<name>[^{}]{1,100})\}|taint \{(?P<name2>[^{}]{1,100})\}, that the pod didn't tolerate",
        f"add a toleration for the taint {{name}} to {POD}.tolerations, or nodes without it",
    ),
    (
        r"didn't match Pod's node affinity/selector|didn't match node selector",
        f"label a node as {POD}.nodeSelector and .affinity ask, or correct them",
    ),
    (
        r"anti-affinity rules",
        f"add nodes, or let {POD}.affinity.podAntiAffinity prefer instead of require",
    ),
    (r"pod affinity rules", f"correct {POD}.affinity.podAffinity: no node runs a Pod that it asks for"),
    (
        r"topology spread constraints",
        f"add nodes in the missing zones, or set whenUnsatisfiable: ScheduleAnyway in {POD}.topologySpreadConstraints",
    ),
    (r"were unschedulable", "kubectl uncordon a node, or add nodes"),
    (r"scheduling gates", "what put the scheduling gate on the Pod has to remove it"),
)

IMAGE: Final[Cures] = (
    (
        r"present with pull policy of Never|ErrImageNeverPull",
        f"load spec.image onto the node, or drop imagePullPolicy: Never from {POD}",
    ),
    (r"InvalidImageName|invalid reference format|couldn't parse image", "spec.image is no image reference: correct it"),
    (r"toomanyrequests|429 Too Many Requests|rate limit", f"wait, or name imagePullSecrets of an account in {POD}"),
    (
        r"no such host|server misbehaving|lookup [\w.-]+.*(timeout|refused)",
        "the node cannot find the registry of spec.image by its name: correct it, or the node's DNS",
    ),
    (
        r"x509|certificate signed by|tls: ",
        "the node does not trust the registry's certificate: give its authority to the node's container runtime",
    ),
    (
        r"server gave HTTP response to HTTPS client",
        "the registry speaks no TLS: give it a certificate, or allow it in the node's container runtime",
    ),
    (
        r"connection refused|i/o timeout|no route to host|connection reset|deadline exceeded|network is unreachable",
        "the node does not reach the registry of spec.image: check its network, proxy and the registry",
    ),
    (r"no space left on device", "free disk space on the node"),
    (
        r"no match for platform|no matching manifest|exec format",
        f"build spec.image for the node's CPU too, or choose nodes by {POD}.nodeSelector (kubernetes.io/arch)",
    ),
    (
        r"denied|unauthorized|authentication required|\b40[13] |forbidden|insufficient_scope|no basic auth",
        f"name a Secret that may pull it in imagePullSecrets of {POD}, or correct spec.image",
    ),
    (r"SignatureValidation", "sign the image as the node's policy asks"),
    (r"manifest unknown|not found|does not exist", "no such image: correct the name or tag in spec.image, or push it"),
)

_USER: Final = f"give USER in the Dockerfile as a number, such as USER 1000, or set securityContext.runAsUser in {POD}"
CONTAINER_CONFIG: Final[Cures] = (
    (r"non-numeric user", f"under podSecurity: Restricted the image's user must be a number: {_USER}"),
    (r"image will run as root", f"under podSecurity: Restricted the image must not run as root: {_USER}"),
    (
        r"breaks non-root policy",
        f"set securityContext.runAsUser in {POD} to another number than 0, as runAsNonRoot asks",
    ),
    (
        r"couldn't find key (?P<name>[\w.-]+) in (?P<kind>Secret|ConfigMap) (?P<place>[\w./-]+)",
        "add the key {name} to the {kind} {place}, or correct the reference to it",
    ),
    (
        r"(?P<kind>secret|configmap) \"(?P<name>[\w.-]+)\" not found",
        "create the {kind} {name} in the pool's namespace, or correct the reference to it",
    ),
    (r"services have not yet been read", "wait: the kubelet has just started"),
    (r"subPath", f"correct subPath in {POD}.volumeMounts"),
)

START: Final[Cures] = (
    (
        r"chdir to cwd \(\"(?P<name>[^\"]{1,100})\"\)",
        f"the image has no folder {{name}}, or its user may not enter it: correct workingDir in {POD}",
    ),
    (
        r"OOM-killed|memory limit too low",
        f"raise resources.limits.memory in {POD}: not even the start fits into it",
    ),
    (
        r"not a directory.*mount|mount a directory onto a file|error mounting",
        f"correct mountPath and subPath in {POD}.volumeMounts: a file and a folder do not go together",
    ),
    (r"exec format error", "the program is made for another CPU, or lacks its #! line: build spec.image for the node"),
    (
        r"exec: \"(?P<name>[^\"]{1,100})\".*permission denied|\"(?P<name2>[^\"]{1,100})\": permission denied",
        "the image's user may not execute {name}: chmod +x it in the image, or correct spec.launcher",
    ),
    (
        r"exec: \"(?P<name>[^\"]{1,100})\"",
        "the image has no program {name}: set spec.launcher to how Python starts in the image, such as"
        " [/opt/venv/bin/python]",
    ),
    (r"permission denied", "the image's user may not execute it: chmod +x it in the image, or correct spec.launcher"),
    (r"no command specified", "the image has no command: correct the sidecar or init container"),
    (r"is reserved for|context deadline exceeded", "the node's container runtime is overloaded: it tries again"),
    (r"no space left on device", "free disk space on the node"),
)

LAST_WORDS: Final[Cures] = (
    (
        r"No module named '?(?P<name>(gevent|eventlet|greenlet))\b",
        "install {name} in the image (celery[{name}]), or choose another spec.pool",
    ),
    (
        r"No module named '?(?P<name>[\w.-]+)",
        f"the image has no module {{name}} where Python looks: install it there, or correct spec.app, or workingDir in"
        f" {POD}",
    ),
    (
        r"cannot import name",
        "versions of packages in spec.image do not go together, or a module lacks the name: correct it in the image",
    ),
    (r"module (?P<name>\S+:\S+) was not found", "correct spec.app: {name} names no app, as module:app does"),
    (r"Module '(?P<name>[\w.-]+)' has no attribute", "correct spec.app: what follows module {name} names no app in it"),
    (
        r"(Syntax|Indentation|Tab)Error",
        "the code in spec.image is broken, or made for another Python than the image has: correct it there",
    ),
    (
        r"KeyError: '(?P<name>[A-Z][A-Z0-9_]+)'|(?P<name2>[A-Z][A-Z0-9_]{2,}): (unbound variable|parameter )",
        f"set the variable {{name}} in {POD}.env or .envFrom",
    ),
    (
        r"ImproperlyConfigured|validation errors? for|UndefinedValueError|not found\. Declare it as envvar",
        f"the app misses a setting: set what it names in {POD}.env or .envFrom",
    ),
    (
        r"Retrying to establish a connection",
        "the broker did not answer when the worker started: see condition BrokerReachable, or let the app try again"
        " (broker_connection_retry_on_startup)",
    ),
    (r"No such transport", "the app's broker_url names no transport that its image has: see spec.broker"),
    (
        r"No such option:? '?(?P<name>--?[\w-]+)",
        "Celery in spec.image does not know {name}: correct spec.worker.extraArgs",
    ),
    (
        r"Invalid value for|requires an argument|unexpected extra argument|Missing (argument|option|parameter)"
        r"|does not take a value",
        "Celery refuses an option: correct spec.worker.extraArgs, or spec.app",
    ),
    (r"Unable to load celery application", "correct spec.app: it names a module, and the app in it (module:app)"),
    (
        r"exec format error",
        f"build spec.image for the node's CPU, or choose nodes by {POD}.nodeSelector (kubernetes.io/arch)",
    ),
    (r"GLIBC|shared librar|symbol not found|Error relocating", "build spec.image with the libraries that it links to"),
    (
        r"Cannot allocate memory|MemoryError|can't start new thread",
        f"raise resources.limits.memory in {POD}, or lower spec.concurrency",
    ),
    (r"No space left|Disk quota", f"give more room: raise ephemeral-storage in {POD}.resources, or mount a volume"),
    (r"Too many open files", "raise the limit of open files (ulimit -n) of the node's container runtime"),
    (r"superuser privileges", f"set securityContext.runAsUser in {POD}, or accept_content without pickle in the app"),
    (
        r"Read-only file system",
        f"under podSecurity: Restricted the root is read-only: mount an emptyDir there by {POD}.volumes, or write to"
        " /tmp",
    ),
    (
        r"(Name or service not known|name resolution|could not translate host|getaddrinfo)",
        "the app connects to a host that is not known when it starts: correct its address in the image or in"
        f" {POD}.env, or the cluster's DNS",
    ),
    (
        r"(Connection ?refused|timed? ?out|No route to host|Network is unreachable|ConnectionError|OperationalError)",
        "the app connects to a service that does not answer when it starts: correct its address in the image or in"
        f" {POD}.env, or the network policies",
    ),
    (
        r"ermission denied|PermissionError",
        "the image's user may not do that: correct the rights in the image (chmod), or spec.launcher",
    ),
    (
        r"(/|sh: |env: |tini|dumb-init|exec|python|ommand).*(not found|No such file|can't open|could not be found)",
        "the image has not what is started: correct spec.launcher or the image",
    ),
)
"""By the last words of a container that ended (`celeriac.cluster.last_words`)."""

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "it ended by itself: a worker must stay in the foreground; correct spec.launcher, and see its log",
    1: "its log says why (kubectl logs --previous): most often a module that cannot be imported or a setting that is"
    " missing",
    2: "Celery does not know an option, or finds no application: correct spec.worker.extraArgs or spec.app; its log"
    " says which",
    126: "a script may not execute a program: chmod +x it in the image, or correct spec.launcher",
    127: "a script names a program that the image has not: correct spec.launcher or the image",
    132: "the node's CPU lacks an instruction that a library uses: choose other nodes, or another build of it",
    134: "a library aborted the process: its log says which",
    135: f"shared memory is full: mount an emptyDir with medium: Memory at /dev/shm by {POD}.volumes",
    137: f"somebody killed it (SIGKILL): if memory is short, raise resources.limits.memory in {POD}, or lower"
    " spec.concurrency; kubectl describe pod and the node's log say more",
    139: "a library crashed (segmentation fault): its log names the task; set PYTHONFAULTHANDLER=1 to see where",
    143: "somebody sent it SIGTERM: see what ends Pods or processes there",
}
CRASHED: Final = "its log says why (kubectl logs --previous)"
OOM: Final = f"raise resources.limits.memory in {POD}, or lower spec.concurrency"


def cure(cures: Cures, words: str) -> str | None:
    """The cure that fits the words, None where none does."""
    return next(_fitting(cures, words), None)


def cures_of_all(cures: Cures, words: str, most: int = 3) -> str | None:
    """All cures that fit, as the scheduler gives a reason for each kind of node; `most` at most."""
    return "; or ".join(islice(_fitting(cures, words), most)) or None


def _fitting(cures: Cures, words: str) -> Iterator[str]:
    for pattern, sentence in cures:
        places = list(re.finditer(pattern, words, re.IGNORECASE))
        if places:
            yield sentence.format_map(_groups(places))


def _groups(places: Sequence[re.Match[str]]) -> dict[str, str]:
    """What the groups found, by name, each once; a name with 2 behind it is another place of the same."""
    found: dict[str, dict[str, None]] = {}
    for place in places:
        for name, text in place.groupdict().items():
            if text is not None:
                found.setdefault(name.rstrip("2"), {})[text] = None
    return {name: " and ".join(texts) for name, texts in found.items()}
