"""What the agents of a pool were to do at their level, and cannot: which hooks are missing, where, and what of it."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from celeriac.api.words import first_of
from celeriac.brokers.agents import WorkerReport
from celeriac.workers.worker import Workers

CLAIMS: Final[Mapping[str, frozenset[str]]] = {
    "report": frozenset(),
    "inflight": frozenset({"inflight"}),
    "drain": frozenset({"inflight", "drain", "exact"}),
}
"""What the agent of every supported Celery can do at each level."""

REFUSALS: Final = "refusals"
"""A hook that no capability tells of: what keeps a worker alive, and its message, where Redis refuses to write."""
COUNTS: Final = frozenset({"task-counts", "task-key"})
"""Those without which its tasks are not counted: of Celery, and the key in Redis."""
BY_HOOK: Final = COUNTS | {REFUSALS}

NAMED: Final = 3
"""Pods and versions that a sentence names."""
RIGHTS: Final = 8
"""Rights that a sentence names."""
HOOKS: Final = 20
"""Hooks of a pool that are told: more than this no agent has to lose."""

_HOOK: Final = re.compile(r"[a-z][a-z-]{0,39}")

CAUSES: Final[tuple[tuple[frozenset[str], str], ...]] = (
    (
        frozenset({"registry"}),
        "Redis refuses{refused} to the workers' ACL user: celeriac acl --for workers -f POOL.yaml prints the rule",
    ),
    (
        frozenset({"transport-options", "ack-emulation"}),
        "the app keeps its messages in flight by means of its own: drop ack_emulation, priority_steps that are no whole"
        " numbers, or the transport class from its broker_transport_options",
    ),
    (
        frozenset({"task-key"}),
        "Redis refuses the workers the hash celeriac:POOL-UID:tasks (behind the key prefix): remove what else has this"
        " name, or grant the ACL user what celeriac acl --for workers -f POOL.yaml prints",
    ),
)
"""Hooks that Redis or the application take away, with the cure."""

CELERY: Final = "this Celery, kombu or redis-py is none that the agent knows: use Celery 5.3 to 5.7"
LEVEL: Final = "or set spec.agent to a level that promises less (report, inflight)"


@dataclass(frozen=True, slots=True)
class Degradation:
    """Workers whose agents cannot do all that their level says.

    pods      their names, sorted
    of        workers that report, these included
    versions  of Celery and what is below, each in words, sorted
    lacking   capabilities that one of them lacks at least, and hooks of `BY_HOOK`
    hooks     which hooks are missing, and in how many of these workers
    refused   what an ACL of the broker refuses to them, in the words of its rule
    """

    pods: tuple[str, ...] = ()
    of: int = 0
    versions: tuple[str, ...] = ()
    lacking: frozenset[str] = frozenset()
    hooks: Mapping[str, int] = field(default_factory=dict)
    refused: tuple[str, ...] = ()

    def __str__(self) -> str:
        hooks = ", ".join(sorted(self.hooks)) or "no hook that it names"
        return (
            f"the agent in {first_of(self.pods, NAMED)} ({len(self.pods)} of {self.of} workers;"
            f" {first_of(self.versions, NAMED)}) misses"
            f" {hooks}: {'; '.join(self._consequences())}. {self._cure()}, {LEVEL}"
        )

    def _consequences(self) -> Iterable[str]:
        if "inflight" in self.lacking:
            yield "what a killed worker holds comes back only with the app's own visibility timeout"
        if "drain" in self.lacking:
            yield "these workers cannot drain, so that each is removed at a moment at which it holds nothing"
        if "exact" in self.lacking:
            yield "how long tasks take is an estimate"
        if REFUSALS in self.lacking:
            yield "where Redis refuses to write a worker ends, and the message that it has just taken is lost"
        if COUNTS & self.lacking:
            yield "the task metrics lack what these workers run"

    def _cure(self) -> str:
        refused = f" {first_of(self.refused, RIGHTS)}" if self.refused else " keys or scripts"
        causes = [cause.format(refused=refused) for hooks, cause in CAUSES if hooks & self.hooks.keys()]
        known = {hook for hooks, _ in CAUSES for hook in hooks}
        if not causes or self.hooks.keys() - known:
            causes.append(CELERY)
        return "; ".join(causes)


def degradation_of(workers: Workers) -> Degradation | None:
    """What is amiss with the agents in the workers that stay; None where nothing is."""
    reports = workers.reports()
    poor = [(name, report) for name, report in reports if _lacks(report)]
    if not poor:
        return None
    hooks = Counter(hook for _, report in poor for hook in set(report.missing) if _HOOK.fullmatch(hook))
    return Degradation(
        pods=tuple(sorted(name for name, _ in poor)),
        of=len(reports),
        versions=tuple(sorted({versions_of(report) for _, report in poor})),
        lacking=frozenset().union(*(_lacks(report) for _, report in poor)),
        hooks=dict(hooks.most_common(HOOKS)),
        refused=tuple(dict.fromkeys(_in_a_rule(each) for _, report in poor for each in report.refused)),
    )


def versions_of(report: WorkerReport) -> str:
    """What runs in a worker, in words."""
    return ", ".join(f"{name} {version}" for name, version in report.versions) or "versions not said"


def _in_a_rule(refused: str) -> str:
    return refused if refused.startswith("~") else f"+{refused.lower()}"


def _lacks(report: WorkerReport) -> frozenset[str]:
    return (CLAIMS.get(report.level, CLAIMS["drain"]) - report.capabilities) | (BY_HOOK & set(report.missing))
