"""What keeps a Pod from running, read from its status: a reason, and a sentence that names the cure.

The reasons on the left are the kubelet's and the scheduler's (pkg/kubelet/images, pkg/kubelet/kuberuntime).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from celeriac.api.reasons import Reason
from celeriac.cluster import cures
from celeriac.cluster.body import Body
from celeriac.cluster.last_words import last_words
from celeriac.cluster.text import MESSAGE_LENGTH, bounded


@dataclass(frozen=True, slots=True)
class Problem:
    """`reason` is a `Reason`; the message has at most 512 characters."""

    reason: Reason
    message: str


_WAITING: Final = {
    "ErrImagePull": Reason.IMAGE_PULL_FAILED,
    "ImagePullBackOff": Reason.IMAGE_PULL_FAILED,
    "ErrImageNeverPull": Reason.IMAGE_PULL_FAILED,
    "InvalidImageName": Reason.IMAGE_PULL_FAILED,
    "ImageInspectError": Reason.IMAGE_PULL_FAILED,
    "RegistryUnavailable": Reason.IMAGE_PULL_FAILED,
    "SignatureValidationFailed": Reason.IMAGE_PULL_FAILED,
    "CreateContainerConfigError": Reason.CONTAINER_CONFIG_ERROR,
    "CreateContainerError": Reason.START_FAILED,
    "RunContainerError": Reason.START_FAILED,
    "PostStartHookError": Reason.START_FAILED,
    "CrashLoopBackOff": Reason.CRASH_LOOP,
}
_START_ERRORS: Final = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons of a terminated container whose process was never executed (containerd's, and the older dockershim's)."""
_CURES: Final[Mapping[Reason, tuple[cures.Cures, str]]] = {
    Reason.UNSCHEDULABLE: (
        cures.UNSCHEDULABLE,
        "add nodes, or change resources, nodeSelector or tolerations in spec.template.spec",
    ),
    Reason.IMAGE_PULL_FAILED: (cures.IMAGE, "correct spec.image, or name imagePullSecrets in spec.template.spec"),
    Reason.CONTAINER_CONFIG_ERROR: (cures.CONTAINER_CONFIG, "create what is missing, or correct the reference to it"),
    Reason.START_FAILED: (cures.START, "correct spec.launcher or the image"),
}
"""By the words of Kubernetes, and for words that nobody foresaw."""
FINAL_PHASES: Final = ("Succeeded", "Failed")
_RESTARTS_OF_A_LOOP: Final = 2  # a single crash is mended by its restart


def problem_of(status: Body) -> Problem | None:
    """The first problem of a Pod, in the order in which its start goes: schedule, init containers, containers.

    One that has come to its end (evicted, shut down with its node) has none: it stays for days, and others replace it.
    """
    if status.get("phase") in FINAL_PHASES:
        return None
    for condition in status.get("conditions") or ():
        if _unschedulable(condition):
            return _problem(Reason.UNSCHEDULABLE, condition.get("message", ""))
    for label, container in _containers(status):
        problem = _container_problem(label, container)
        if problem is not None:
            return problem
    return None


def _unschedulable(condition: Body) -> bool:
    """Whether the scheduler tried and found no node, or may not try."""
    return (
        condition["type"] == "PodScheduled"
        and condition["status"] == "False"
        and condition.get("reason") in ("Unschedulable", "SchedulerError", "SchedulingGated")
    )


def _containers(status: Body) -> Iterator[tuple[str, Body]]:
    """The containers in the order of their start, each with the words that name it."""
    for container in status.get("initContainerStatuses") or ():
        yield f"init container {container['name']}", container
    for container in status.get("containerStatuses") or ():
        yield f"container {container['name']}", container


def _container_problem(label: str, container: Body) -> Problem | None:
    """Read one container: why it waits, or that it keeps ending."""
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = _WAITING.get(waiting.get("reason", ""))
    if reason is not None and reason != Reason.CRASH_LOOP:
        return _problem(reason, f"{label}: {waiting['reason']}: {waiting.get('message', '')}")
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    if ended.get("reason") in _START_ERRORS and "running" not in state:
        return _problem(Reason.START_FAILED, f"{label}: {ended.get('message') or ended['reason']}")
    if reason == Reason.CRASH_LOOP or _keeps_failing(container, ended):
        return _crash_loop(label, container.get("restartCount", 0), ended)
    return None


def _keeps_failing(container: Body, ended: Body) -> bool:
    """Whether a container that is not backing off at this moment is between two crashes nevertheless."""
    failed = ended.get("exitCode", 0) != 0
    return failed and not container.get("ready") and container.get("restartCount", 0) >= _RESTARTS_OF_A_LOOP


def _crash_loop(label: str, restarts: int, ended: Body) -> Problem:
    """Say how a container ended the last time, and what it said last where that explains it."""
    why = ended.get("reason", "")
    code = f"exit code {ended['exitCode']}" if "exitCode" in ended else "an unknown exit code"
    detail = f"{code}, {why}" if why and why != "Error" else code
    exit_code = ended.get("exitCode", -1)
    said = last_words(ended.get("message") or "", exit_code) if why != "OOMKilled" else None
    cure = (cures.cure(cures.LAST_WORDS, said) if said else None) or cures.EXIT_CODES.get(exit_code, cures.CRASHED)
    what = f"{label} ended with {detail} after {restarts} restarts{f': {said}' if said else ''}"
    return _joined(Reason.CRASH_LOOP, what, cures.OOM if why == "OOMKilled" else cure)


def _problem(reason: Reason, what: str) -> Problem:
    """What was seen, with the cure that fits its words."""
    known, otherwise = _CURES[reason]
    find = cures.cures_of_all if reason is Reason.UNSCHEDULABLE else cures.cure
    return _joined(reason, what, find(known, what) or otherwise)


def _joined(reason: Reason, what: str, cure: str) -> Problem:
    """Join what was seen and the cure; where both do not fit, what was seen is cut."""
    advice = f"; {cure}"
    return Problem(reason, bounded(what.removesuffix("."), MESSAGE_LENGTH - len(advice)) + advice)
