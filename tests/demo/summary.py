"""The end of the demo: every task accounted for, every pool up to what was decided and back to zero. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from celery_app.ledger import QueueAccount
from rich.table import Table

from tests.demo.pools import DemoPool
from tests.demo.state import PoolState


@dataclass(frozen=True)
class Line:
    """One pool in the summary: its account, what was seen of it, and what is wrong with it."""

    pool: DemoPool
    account: QueueAccount | None
    state: PoolState
    problems: tuple[str, ...]


def judge(
    pools: Sequence[DemoPool], accounts: Mapping[str, QueueAccount], states: Mapping[str, PoolState]
) -> list[Line]:
    """One line per pool, in the order of `pools`."""
    lines = []
    for pool in pools:
        account, state = accounts.get(pool.queue), states[pool.name]
        problems = (*_of_tasks(pool, account), *_of_replicas(pool, state))
        lines.append(Line(pool, account, state, problems))
    return lines


def settled(pools: Sequence[DemoPool], accounts: Mapping[str, QueueAccount], states: Mapping[str, PoolState]) -> bool:
    """Whether nothing more can be expected: all that was sent has ended, and all pools are at zero."""
    waiting = any(account.unstarted or account.unfinished for account in accounts.values())
    return (
        not waiting
        and {pool.queue for pool in pools} <= accounts.keys()
        and all(states[pool.name].at_zero for pool in pools)
    )


def _of_tasks(pool: DemoPool, account: QueueAccount | None) -> list[str]:
    if account is None or not account.sent:
        return [f"{pool.queue}: no task was sent"]
    problems = list(account.problems)
    if len(account.pods) < pool.peak:
        problems.append(f"{pool.queue}: tasks ran on {len(account.pods)} pods, at least {pool.peak} were expected")
    return problems


def _of_replicas(pool: DemoPool, state: PoolState) -> list[str]:
    problems = []
    if state.peak_decided < pool.peak:
        problems.append(f"{pool.name}: at most {state.peak_decided} replicas were decided, {pool.peak} were expected")
    if state.peak_ready != state.peak_decided:
        problems.append(
            f"{pool.name}: {state.peak_decided} replicas were decided, at most {state.peak_ready} were ready"
        )
    if not state.at_zero:
        problems.append(f"{pool.name}: not back at zero: {state.decided} decided, {state.replicas} there")
    return problems


def table(lines: Sequence[Line]) -> Table:
    """The summary for a terminal of 80 columns: tasks, then replicas; lines with a problem are red."""
    view = Table(title="Summary: tasks, and replicas at their peak and now", title_justify="left")
    view.add_column("pool", no_wrap=True)
    for title in ("sent", "done", "twice", "retried", "pods", "decided", "ready", "now"):
        view.add_column(title, justify="right")
    for line in lines:
        tasks, state = line.account, line.state
        counts = (tasks.sent, tasks.succeeded, len(tasks.doubled), tasks.retried) if tasks else (0,) * 4
        replicas = (len(tasks.pods) if tasks else 0, state.peak_decided, state.peak_ready, state.replicas)
        view.add_row(line.pool.name, *map(str, (*counts, *replicas)), style="red" if line.problems else None)
    return view


def words(lines: Sequence[Line]) -> list[str]:
    """What the operator said when it asked for the most replicas, one sentence per pool."""
    return [f"{line.pool.name} decided {line.state.peak_decided}: {line.state.peak_decision}" for line in lines]
