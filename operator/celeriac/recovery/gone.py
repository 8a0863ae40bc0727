"""When a worker process is certainly gone, and whether its end counts against the tasks that it ran; no I/O."""

from collections.abc import Collection
from dataclasses import dataclass

from celeriac.brokers.agents import Process
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


def judge(process: Process, pod: PodRecord | None, *, ended: bool, silent_seconds: float) -> Verdict | None:
    """Whether the process is gone, by what is known without asking anybody; None: not certain.

    `ended`: its Pod is gone and was last seen with all containers terminated. A process ended with its container if it
    had started by then. Both times are those of its node's clock, so they may be compared; the kubelet's has whole
    seconds, rounded down, which errs towards waiting. `silent_seconds`: since its reports stand still.
    """
    if pod is None:
        return Verdict(False, "its Pod has ended") if ended else None
    if pod.finished_at is None or process.started > pod.finished_at or silent_seconds < QUIET_SECONDS:
        return None
    why = f"its container ended ({pod.exit_reason})" if pod.exit_reason else "its container ended"
    if pod.evicted:
        return Verdict(False, "its Pod was evicted")
    return Verdict(not pod.terminating or pod.exit_reason == OUT_OF_MEMORY, why)


@dataclass(slots=True)
class _Silence:
    """The counter of a process's last report, and since when it has not changed."""

    counter: int | None
    since: float


class Silences:
    """Since when the reports of each process stand still, by the looks at them; in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._of: dict[str, _Silence] = {}

    def seconds(self, process: Process, now: float) -> float:
        """Take over one look; the silence begins with the first."""
        silence = self._of.get(process.process)
        if silence is None or silence.counter != process.reported:
            silence = self._of[process.process] = _Silence(process.reported, now)
        return now - silence.since

    def keep(self, names: Collection[str]) -> None:
        """Forget all other processes."""
        self._of = {name: silence for name, silence in self._of.items() if name in names}

    def forget(self) -> None:
        """Begin anew: nobody could report, or nobody could look."""
        self._of.clear()
