"""When a worker process is certainly gone, and whether its end counts against the tasks that it ran; no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from celeriac.brokers.agents import Process
from celeriac.cluster.records import PodRecord
from celeriac.recovery.sightings import Sighting

SILENT_SECONDS = 30.0
"""A Pod that the API server does not know is believed to be gone after its reports stood still for so long."""
QUIET_SECONDS = 2.0
"""A process whose container has ended does not report any more: one that did so lately is its successor."""

OUT_OF_MEMORY = "OOMKilled"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A process is gone. `died`: by its own fault or its task's, so that the tasks which it ran are suspects."""

    died: bool
    why: str


class PodQuestion(NamedTuple):
    """Whether the API server itself does not know a Pod any more: a watch may have missed it."""

    namespace: str
    name: str
    uid: str


class NodeQuestion(NamedTuple):
    """Whether a node is deleted, or declared out of service."""

    name: str


Question = PodQuestion | NodeQuestion
Answers = Mapping[Question, bool]
"""True: gone. What was not asked, or not answered, is not in it, and proves nothing."""


def judge(
    process: Process, pod: PodRecord | None, answers: Answers, sighting: Sighting, *, ended: bool
) -> Verdict | None:
    """Whether the process is gone; None: not certain. `ended`: its Pod is gone, all containers were seen terminated."""
    if pod is None and ended:
        return Verdict(False, "its Pod has ended")
    if pod is not None and _was_in(process, pod, sighting) and sighting.silent_seconds >= QUIET_SECONDS:
        why = f"its container ended ({pod.exit_reason})" if pod.exit_reason else "its container ended"
        if pod.evicted:
            return Verdict(False, "its Pod was evicted")
        return Verdict(not pod.terminating or pod.exit_reason == OUT_OF_MEMORY, why)
    asked = question(process, pod, sighting)
    if asked is None or not answers.get(asked, False):
        return None
    return Verdict(False, "its Pod is gone" if pod is None else "its node is gone")


def question(process: Process, pod: PodRecord | None, sighting: Sighting) -> Question | None:
    """What the API server has to be asked of a process that has been silent for long; None: nothing would help."""
    if sighting.silent_seconds < SILENT_SECONDS:
        return None
    if pod is None:
        return PodQuestion(process.namespace, process.pod, process.pod_uid)
    return NodeQuestion(pod.node) if pod.node is not None else None


def seems_ended(process: Process, pod: PodRecord | None, sighting: Sighting) -> bool:
    """Whether its Pod is not there, or its container ended after it had started."""
    return pod is None or _was_in(process, pod, sighting)


def _was_in(process: Process, pod: PodRecord, sighting: Sighting) -> bool:
    """Whether it ran in the container of its Pod that ended last.

    What was seen in order beats the clock: a process that appeared or reported after the end was seen ran elsewhere.
    Of a Pod whose containers are not started anew, all processes ran there. Otherwise it has to have started by the
    end, by the clock of their node, in whole seconds rounded down, which errs towards waiting. That clock may have been
    set back: it must not have started after the container that runs now, unless another process reports from there.
    """
    if pod.finished_at is None or pod.last_end == sighting.outlived:
        return False
    if not pod.running and (pod.terminating or pod.phase in ("Succeeded", "Failed")):
        return True
    if process.started > pod.finished_at:
        return False
    started_later = pod.running_since is None or process.started >= pod.running_since
    return not (pod.running and started_later) or sighting.displaced
