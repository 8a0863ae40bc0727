"""When a worker process is certainly gone, and whether its end counts against the tasks that it ran; no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from celeriac.brokers.agents import Process, RegistryEntry
from celeriac.cluster.records import PodRecord

SILENT_SECONDS = 30.0
"""A Pod that the API server does not know is believed to be gone after its reports stood still for so long."""
QUIET_SECONDS = 2.0
"""A process whose container has ended does not report any more: one that did so lately is its successor, whatever the
clock of a node that was set back says."""

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
    process: Process, pod: PodRecord | None, answers: Answers, *, ended: bool, silent_seconds: float
) -> Verdict | None:
    """Whether the process is gone; None: not certain.

    `ended`: its Pod is gone and was last seen with all containers terminated. A process ended with its container if it
    had started by then. Both times are those of its node's clock, so they may be compared; the kubelet's has whole
    seconds, rounded down, which errs towards waiting. `silent_seconds`: since its reports stand still.
    """
    if pod is None and ended:
        return Verdict(False, "its Pod has ended")
    if pod is not None and pod.finished_at is not None and _was_in(process, pod) and silent_seconds >= QUIET_SECONDS:
        why = f"its container ended ({pod.exit_reason})" if pod.exit_reason else "its container ended"
        if pod.evicted:
            return Verdict(False, "its Pod was evicted")
        return Verdict(not pod.terminating or pod.exit_reason == OUT_OF_MEMORY, why)
    asked = question(process, pod, silent_seconds)
    if asked is None or not answers.get(asked, False):
        return None
    return Verdict(False, "its Pod is gone" if pod is None else "its node is gone")


def question(process: Process, pod: PodRecord | None, silent_seconds: float) -> Question | None:
    """What the API server has to be asked of a process that has been silent for long; None: nothing would help."""
    if silent_seconds < SILENT_SECONDS:
        return None
    if pod is None:
        return PodQuestion(process.namespace, process.pod, process.pod_uid)
    return NodeQuestion(pod.node) if pod.node is not None else None


def seems_ended(process: Process, pod: PodRecord | None) -> bool:
    """Whether its Pod is not there, or its container ended after it had started."""
    return pod is None or _was_in(process, pod)


def _was_in(process: Process, pod: PodRecord) -> bool:
    """Whether it ran in the container of its Pod that ended last."""
    return pod.finished_at is not None and process.started <= pod.finished_at


@dataclass(slots=True)
class _Silence:
    """What told a process's last report from the one before, and since when that has not changed."""

    reported: int | None
    since: float


class Silences:
    """Since when the reports of each process stand still, by the looks at them; in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._of: dict[tuple[RegistryEntry, str], _Silence] = {}

    def seconds(self, process: Process, now: float) -> float:
        """Take over one look; the silence begins with the first."""
        name = process.entry, process.process
        silence = self._of.get(name)
        if silence is None or silence.reported != process.reported:
            silence = self._of[name] = _Silence(process.reported, now)
        return now - silence.since

    def keep(self, processes: Iterable[Process]) -> None:
        """Forget all other processes."""
        names = {(process.entry, process.process) for process in processes}
        self._of = {name: silence for name, silence in self._of.items() if name in names}
