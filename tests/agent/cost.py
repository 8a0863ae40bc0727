"""``python -m tests.agent.cost [VERSION] [POOL]...``: what the agent costs a worker, measured side by side.

Idle: CPU in percent of one core, resident memory in MiB, commands a second on Redis, over some seconds each. Busy: how
long a thousand tasks of 10 ms take, and a hundred of 200 ms. Workers with and without the agent take turns, so that the
machine's moods hit both alike; the ratio is that of the medians. It prints what it measures and asserts nothing.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.agent.environments import NEWEST
from tests.agent.rig import Rig
from tests.agent.worker import POOLS, Spec, Worker
from tests.integration.redis_server import RedisServer

SETTLE_SECONDS = 3.0
IDLE_SECONDS = 15.0
LOADS = ((1000, 0.01), (100, 0.2))
"""Tasks, and seconds of each: such as are fetched ahead of, and such as are not."""
ROUNDS = 3
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Idle:
    """Of one idle worker, all its processes: percent of a core, MiB, commands a second."""

    cpu: float
    memory: float
    commands: float


def idle(spec: Spec) -> Idle:
    """Watch a worker that does nothing."""
    with RedisServer() as server, tempfile.TemporaryDirectory() as directory, Rig(server, Path(directory)) as rig:
        [worker] = rig.start(spec)
        time.sleep(SETTLE_SECONDS)
        cpu, commands, began = _cpu_seconds(worker), _commands(rig), time.monotonic()
        time.sleep(IDLE_SECONDS)
        seconds = time.monotonic() - began
        # INFO itself is one of them.
        return Idle(
            100 * (_cpu_seconds(worker) - cpu) / seconds,
            resident_mib(worker),
            (_commands(rig) - commands - 1) / seconds,
        )


def busy(spec: Spec, tasks: int, seconds: float) -> float:
    """Tasks a second, from the first start to the last end."""
    with RedisServer() as server, tempfile.TemporaryDirectory() as directory, Rig(server, Path(directory)) as rig:
        rig.send(*(f"t{number:05}" for number in range(tasks)), args=[seconds])
        rig.start(spec)
        rig.settle(seconds=300)
        lines = rig.ledger.lines()
        return tasks / (lines[-1].at - lines[0].at)


def main(version: str, pools: list[str]) -> None:
    """Print one line for each pool and each kind of figure."""
    for pool in pools:
        with_agent = Spec(version, pool, slots=2)
        plain = Spec(version, pool, slots=2, agent=False)
        one, other = idle(with_agent), idle(plain)
        print(
            f"{version} {pool:9} idle: CPU {one.cpu:.2f} % of a core with the agent, {other.cpu:.2f} % without; "
            f"memory {one.memory:.1f} MiB, {other.memory:.1f} MiB; Redis commands a second {one.commands:.1f}, "
            f"{other.commands:.1f}",
            flush=True,
        )
        for tasks, seconds in LOADS:
            rates: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(ROUNDS):
                for spec in (with_agent, plain):
                    rates[spec.agent].append(busy(spec, tasks, seconds))
            agent, none = statistics.median(rates[True]), statistics.median(rates[False])
            print(
                f"{version} {pool:9} tasks of {1000 * seconds:.0f} ms a second: {agent:.1f} with the agent, "
                f"{none:.1f} without, ratio {agent / none:.3f} "
                f"(runs {_figures(rates[True])} and {_figures(rates[False])})",
                flush=True,
            )


def _figures(rates: list[float]) -> str:
    return "/".join(f"{rate:.1f}" for rate in rates)


def _commands(rig: Rig) -> int:
    """Commands that clients sent; those that scripts call are not among them."""
    return int(rig.client.info("stats")["total_commands_processed"])


def _processes(worker: Worker) -> list[int]:
    """The worker's first process and its children."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _group(pid) == worker.pid]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def _cpu_seconds(worker: Worker) -> float:
    """User and system time of all its processes (proc(5): fields 14 and 15 of stat)."""
    total = 0
    for pid in _processes(worker):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mib(worker: Worker) -> float:
    """Of all its processes."""
    return sum(_resident_mib(pid) for pid in _processes(worker))


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB


if __name__ == "__main__":
    if any(argument in ("-h", "--help") for argument in sys.argv):
        print(__doc__)
    else:
        main(next(iter(sys.argv[1:2]), NEWEST), sys.argv[2:] or list(POOLS))
