"""When a worker process is certainly gone, and whether its end counts against the tasks that it ran; pure."""

from dataclasses import dataclass

from celeriac.brokers.types import Process
from celeriac.cluster.records import PodRecord

SILENT_SECONDS = 30.0
"""A Pod that the API server does not know is believed to be gone after its reports stood still for so long."""

OUT_OF_MEMORY = "OOMKilled"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A process is gone. `died`: by its own fault or its task's, so that the tasks which it ran are suspects."""

    died: bool
    why: str


def judge(process: Process, pod: PodRecord | None, *, ended: bool) -> Verdict | None:
    """Whether the process is gone, by what is known without asking anybody; None: not certain.

    `ended`: its Pod is gone and was last seen with all containers terminated. A process ended with its container if it
    had started by then. Both times are those of its node's clock, so they may be compared; the kubelet's has whole
    seconds, rounded down, which errs towards waiting.
    """
    if pod is None:
        return Verdict(False, "its Pod has ended") if ended else None
    if pod.finished_at is None or process.started > pod.finished_at:
        return None
    why = f"its container ended ({pod.exit_reason})" if pod.exit_reason else "its container ended"
    if pod.evicted:
        return Verdict(False, "its Pod was evicted")
    return Verdict(not pod.terminating or pod.exit_reason == OUT_OF_MEMORY, why)
