"""One pool, tick by tick: observe -> decide -> plan. Values in, values out; it calls nobody and reads no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.autoscaling.demand import demand_of, demand_without_agent, sample_of, unreported, workload_of
from celeriac.autoscaling.drain_marker import NO_MARKING, Marking, corrected, told_to_stop
from celeriac.autoscaling.healer import Healer, Healing
from celeriac.autoscaling.news import deaf_pods, new_dead_letters, of_deaf, of_healing, of_layout
from celeriac.autoscaling.outcome import Outcome, urgent_outcome
from celeriac.autoscaling.rest import Rest
from celeriac.autoscaling.rollout_view import RolloutView
from celeriac.autoscaling.scale_writer import Change
from celeriac.autoscaling.sight import Sight, Step
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import PoolReading, has_messages
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.layouts import layout_of
from celeriac.pool.model import QueueLayout, WorkerPool
from celeriac.scaling.decide import decide
from celeriac.scaling.decision import History, Plan, Retirement
from celeriac.scaling.history import fresh_history, record_change
from celeriac.scaling.learning import Learned, learn
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Mode
from celeriac.scaling.workload import Demand, Doubt, Rollout
from celeriac.workers.degraded import degradation_of
from celeriac.workers.layout import learned_layout
from celeriac.workers.observer import Observer
from celeriac.workers.refused import with_refusal
from celeriac.workers.responses import Responses, ResponseWatch
from celeriac.workers.stuck import Stuck, StuckWatch
from celeriac.workers.trouble import trouble_of
from celeriac.workers.worker import Workers, restarting


@dataclass(frozen=True, slots=True)
class Seed:
    """What the last leader knew of a pool, as its status tells it.

    `idle_seconds`: for how long at least it had nothing to do, by that leader's own clock: times of two machines are
    never compared.
    `restarts`: workers that it had started anew, and how many of them in vain.
    """

    idle_seconds: float | None = None
    learned: Learned = field(default_factory=Learned)
    layout: QueueLayout | None = None
    restarts: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> "Seed":
        """Read the status of a pool, as `celeriac.pool.told_status` leaves it."""
        return cls(
            status.get("idleSeconds"),
            Learned.seeded(
                runtime_seconds=status.get("taskRuntimeSeconds"), cold_start_seconds=status.get("coldStartSeconds")
            ),
            layout_of(status.get("learnedLayout")),
            (status.get("restartedWorkers", 0), status.get("restartsInVain", 0)),
        )


class PoolScaler:
    """Remembers of one pool what the next decision needs. Moments are seconds of one monotonic clock."""

    def __init__(self, key: PoolKey, uid: str, seed: Seed, now: float) -> None:
        self.key = key
        self.uid = uid
        self.generation: int | None = None
        """Of the spec that the last step heeded."""
        self.layout = seed.layout
        self.outcome: Outcome | None = None
        self.reading: PoolReading | BrokerDoubt | None = None
        """What the last step was made of."""
        self.doubt: BrokerDoubt | None = None
        self.used: frozenset[str] = frozenset()
        """Queues in which a message was seen."""
        self.read_since: float | None = None
        """Since when its queues are read; None while they are not."""
        self._doubt_since = now
        self._idle_since = None if seed.idle_seconds is None else now - seed.idle_seconds
        self._idle_since_before: float | None = None
        self._learned = seed.learned
        # None until the Deployment is known: windows that began at zero would shrink a pool that runs.
        self._history: History | None = None
        self._observer = Observer()
        self._watch = ResponseWatch()
        self._stuck = StuckWatch()
        self._rollout = RolloutView()
        self._workers: Workers | None = None
        self._responses: Responses | None = None
        self._healer = Healer(now, *seed.restarts)
        self._healing: Healing | None = None
        self._rest = Rest()

    def rests(
        self, reading: PoolReading | BrokerDoubt, revision: int, now: float, *, unresolved: bool, carried: bool
    ) -> bool:
        """Whether a step would find what the last one found, and come to the same: then none is taken.

        `carried`: the change of the replicas that the last step wanted waits, or is being made.
        """
        return self._rest.holds(reading, revision, now, unresolved=unresolved, carried=carried)

    def outcome_at(self, now: float) -> Outcome | None:
        """What the last step found, as it stands now: it may have been a while ago."""
        if self.outcome is None or self._idle_since is None or self.outcome.idle_seconds is None:
            return self.outcome
        return replace(self.outcome, idle_seconds=now - self._idle_since)

    def step(self, sight: Sight, now: float) -> Step:
        """Decide once. Every tick is one call, also where nothing can be read, but for those in which it `rests`."""
        if (left := self._rest.end()) is not None and left.sight.deployment is not None:
            # As if all steps had been taken: windows and rates count from the last moment at which nothing had changed.
            self.outcome = self._decide(left.sight, left.sight.deployment, left.until)
        step = self._step(sight, now)
        self._rest = Rest.after(sight, step, now)
        return step

    def _step(self, sight: Sight, now: float) -> Step:
        self.generation, self.reading = sight.pool.generation, sight.reading
        outcome_before, doubt_before, layout_before = self.outcome, self.doubt, self.layout
        self._note_doubt(sight.reading, now)
        self._note_use(sight.pool, sight.reading, now)
        other_doubt = _reason(doubt_before) != _reason(self.doubt)
        if sight.deployment is None or sight.deployment.controller_uid != sight.pool.uid:
            self._history = self.outcome = None
            return Step(is_news=other_doubt)
        outcome = self.outcome = self._decide(sight, sight.deployment, now)
        return Step(
            outcome,
            _change(outcome),
            _marking(sight, outcome),
            _retirement(sight, outcome.plan),
            of_layout(sight.pool, layout_before, self.layout)
            + of_deaf(sight.pool, outcome_before, outcome)
            + of_healing(sight.pool, outcome),
            new_dead_letters(outcome_before, outcome),
            is_news=other_doubt or urgent_outcome(outcome_before) != urgent_outcome(outcome),
        )

    def scaled(self, pods: int, now: float) -> None:
        """Take over a performed change of the replicas (positive up, negative down)."""
        if self._history is not None:
            self._history = record_change(self._history, now, pods)

    def _decide(self, sight: Sight, deployment: DeploymentRecord, now: float) -> Outcome:
        pool, reading = sight.pool, sight.reading
        is_first = self._history is None
        if self._history is None:
            self._history = fresh_history(deployment.spec_replicas, now, self._idle_since)
        self._observe(sight, now)
        sight = replace(sight, reading=(reading := with_refusal(reading, self._workers)))
        demand = self._demand(sight, deployment.spec_replicas)
        decision = decide(pool.policy, demand, self._history, now)
        self._history, self._idle_since = decision.history, decision.history.idle_since
        if is_first:
            self._idle_since_before = self._idle_since
        readable = isinstance(reading, PoolReading)
        stuck = self._stuck.look(sight.pods, self._workers if readable else None, now)
        rollout = self._look_at_rollout(sight, deployment, stuck, now)
        workload = workload_of(deployment, self._workers, agent=bool(pool.agent), pods=sight.pods, rollout=rollout)
        return Outcome(
            demand,
            decision,
            plan(pool.policy, decision, demand, workload),
            idle_seconds=None if self._idle_since is None else now - self._idle_since,
            idle_before=self._idle_since is not None and self._idle_since == self._idle_since_before,
            workers=self._workers,
            trouble=trouble_of(pool, self._workers) if self._workers else None,
            degradation=degradation_of(self._workers) if self._workers else None,
            responses=self._responses if readable and self._workers else None,
            healing=self._healing if readable and self._workers else None,
            learned=self._learned if readable and self._workers else None,
            dead=_dead(reading),
            rollout=rollout,
            layout=self.layout,
            durability=reading.durability if isinstance(reading, PoolReading) else None,
            stuck=stuck,
            refusal=reading.refusal if isinstance(reading, PoolReading) else None,
        )

    def _look_at_rollout(
        self, sight: Sight, deployment: DeploymentRecord, stuck: Sequence[Stuck], now: float
    ) -> Rollout | None:
        if sight.replica_sets is None:
            return None
        pods = self._workers.pods() if self._workers is not None else unreported(sight.pods)
        return self._rollout.look(deployment, sight.replica_sets, sight.pods, pods, stuck, now)

    def _observe(self, sight: Sight, now: float) -> None:
        """Join Pods and reports, and learn from them; a doubt leaves what was seen last."""
        pool, reading = sight.pool, sight.reading
        if not pool.agent:
            self._workers = None
        elif isinstance(reading, PoolReading):
            self._workers = self._observer.observe(
                *(sight.pods, reading.reports, reading.marks, pool.policy.slots, now, reading.unreadable),
                drains=pool.agent.drains,
            )
            waiting = {queue: counts.waiting for queue, counts in reading.queues.items()}
            self._responses = self._watch.look(self._workers, waiting, now)
            if pool.policy.mode is Mode.AUTO and sight.replica_sets is None:
                self._healing = self._healer.step(self._workers, self._responses, now)
            else:
                self._healing = self._healer.rest(self._workers)
            self.layout = learned_layout(pool, self._workers, self.layout)
            self._learned = learn(self._learned, sample_of(reading, self._workers, now))

    def _note_doubt(self, reading: PoolReading | BrokerDoubt, now: float) -> None:
        """Remember why the broker is in doubt, and since when without a gap."""
        if not isinstance(reading, BrokerDoubt):
            self.doubt = None
            return
        if self.doubt is None:
            self._doubt_since = now
        self.doubt = reading

    def _note_use(self, pool: WorkerPool, reading: PoolReading | BrokerDoubt, now: float) -> None:
        """Remember which queues have had a message; where there is one, each task that was done came from it."""
        if isinstance(reading, BrokerDoubt):
            self.read_since = None
            return
        self.read_since = now if self.read_since is None else self.read_since
        if len(self.used) < len(pool.queues):
            processed = any(report.processed for report in reading.reports.values())
            worked = processed or self._learned.runtime_seconds is not None
            all_of_it = pool.queues if worked and len(pool.queues) == 1 else ()
            self.used |= {*all_of_it, *(queue for queue, found in reading.queues.items() if has_messages(found))}

    def _demand(self, sight: Sight, replicas: int) -> Demand | Doubt:
        reading = sight.reading
        if isinstance(reading, BrokerDoubt):
            return Doubt(replicas, since=self._doubt_since, reason=reading.reason, message=str(reading))
        if self._workers is None:
            return demand_without_agent(reading, replicas, sight.pool.policy.slots)
        return demand_of(
            *(reading, replicas, self._workers, self._learned),
            unresolved=sight.unresolved,
            drains=sight.pool.agent.drains,
        )


def _dead(reading: PoolReading | BrokerDoubt) -> dict[str, int] | None:
    if isinstance(reading, BrokerDoubt):
        return None
    return {queue: counts.dead for queue, counts in reading.queues.items() if counts.dead}


def _reason(doubt: BrokerDoubt | None) -> Reason | None:
    return doubt.reason if doubt else None


def _change(outcome: Outcome) -> Change | None:
    planned = outcome.plan
    if planned.replicas is None:
        return None
    in_rollout = outcome.rollout is not None
    before = outcome.demand.current_replicas
    return Change(before, planned.replicas, planned.message, in_rollout, outcome.decision.reason)


def _retirement(sight: Sight, planned: Plan) -> tuple[str, Retirement] | None:
    if planned.retire is None or sight.replica_sets is None:
        return None
    return sight.replica_sets[planned.retire.replica_set].name, planned.retire


def _marking(sight: Sight, outcome: Outcome) -> Marking:
    """What the plan asks for, who has not heard SIGTERM, and corrections where an earlier write failed half-way."""
    planned = outcome.plan
    if isinstance(sight.reading, BrokerDoubt):
        return NO_MARKING
    pods = {pod.uid: pod for pod in sight.pods} if sight.pool.agent else {}
    wanted = Marking(
        drain=tuple(pods[uid] for uid in planned.drain if uid in pods),
        undrain=tuple(pods[uid] for uid in planned.undrain if uid in pods) + _healed(outcome),
        release=tuple(pods[uid] for uid in planned.release if uid in pods),
        stop=tuple(pod for pod in deaf_pods(outcome) if not told_to_stop(pod)),
        restart=_restarts(outcome),
    )
    return corrected(wanted, pods.values(), sight.reading.marks)


def _restarts(outcome: Outcome) -> tuple[tuple[PodRecord, str], ...]:
    """Whose worker is to be started anew and has no mark that says so yet."""
    stop = outcome.healing.stop if outcome.healing is not None else ()
    return tuple((pod, process) for pod, process in stop if restarting(pod) != process)


def _healed(outcome: Outcome) -> tuple[PodRecord, ...]:
    """Whose mark has had its worker started anew."""
    return outcome.healing.release if outcome.healing is not None else ()
