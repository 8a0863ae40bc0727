"""What the operator costs: its process, its requests to the API server by the audit log, what it asks of Redis."""

import json
import os
import re
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO

from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

TICKS_OF_CLOCK = os.sysconf("SC_CLK_TCK")
READS = frozenset({"get", "list", "watch"})
SCRAPE_SECONDS = 120.0
PROBE_SECONDS = 0.02


def load() -> float:
    """Of the machine, mean of a minute."""
    return os.getloadavg()[0]


def cpu_seconds(pid: int) -> float:
    """That a process has used so far, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_OF_CLOCK


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


@dataclass(frozen=True)
class Requests:
    """How many of each verb on each resource, /subresource included."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def reads(self) -> int:
        """That ask, and change nothing."""
        return sum(count for (verb, _), count in self.counts.items() if verb in READS)

    def writes(self, but: str = "") -> int:
        """That change something, of all resources but one."""
        return sum(count for (verb, of), count in self.counts.items() if verb not in READS and of != but)

    def told(self, per: float = 1.0, but: str = "") -> str:
        """All in words, the most frequent first, divided; what is below a hundredth is left out."""
        each = [(count / per, verb, of) for (verb, of), count in self.counts.most_common() if of != but]
        return ", ".join(f"{verb} {of} {count:.2f}" for count, verb, of in each if count >= 0.01)


class Audit:
    """The requests of one user from the audit log, read on from where the last call ended, over rotations too."""

    def __init__(self, log: Path, user: str) -> None:
        self._log, self._user = log, user
        self._file: TextIO | None = None
        self._rest = ""
        self._renewed: float | None = None
        self.longest_gap = 0.0
        """Seconds between two renewals of the Lease by one process, at most."""

    def begin_anew(self) -> None:
        """Another process follows: what lies between their renewals is no gap."""
        self.read()
        self._renewed = None

    def read(self) -> Requests:
        """All that were answered since the last call, watches that were begun."""
        found = Requests()
        for line in self._lines():
            if self._user in line:
                self._count(found, json.loads(line))
        return found

    def _lines(self) -> list[str]:
        self._file = self._file or self._log.open()
        text = self._file.read()
        if os.fstat(self._file.fileno()).st_ino != self._log.stat().st_ino:  # rotated: the rest is in a new file
            self._file = self._log.open()
            text += self._file.read()
        *lines, self._rest = (self._rest + text).split("\n")
        return lines

    def _count(self, found: Requests, event: dict[str, object]) -> None:
        user, thing = event["user"], event.get("objectRef") or {}
        assert isinstance(user, dict)
        assert isinstance(thing, dict)
        ended = "ResponseStarted" if event["verb"] == "watch" else "ResponseComplete"
        if user.get("username") != self._user or event["stage"] != ended:
            return
        resource = "/".join(str(thing[part]) for part in ("resource", "subresource") if part in thing)
        found.counts[str(event["verb"]), resource or "discovery"] += 1
        if resource == "leases" and event["verb"] not in READS:
            self._note_renewal(datetime.fromisoformat(str(event["requestReceivedTimestamp"])).timestamp())

    def _note_renewal(self, moment: float) -> None:
        if self._renewed is not None:
            self.longest_gap = max(self.longest_gap, moment - self._renewed)
        self._renewed = moment


def scrape(operator: OperatorProcess) -> str:
    """All metrics, however long it takes."""
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/metrics", timeout=SCRAPE_SECONDS) as answer:
        text: str = answer.read().decode()
        return text


def stalled_by(operator: OperatorProcess, seconds: float) -> float:
    """The longest answer of /healthz within so many seconds, asked again and again: the event loop was busy so long."""
    longest, deadline = 0.0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        asked = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{operator.health_port}/healthz", timeout=SCRAPE_SECONDS):
            longest = max(longest, time.perf_counter() - asked)
        time.sleep(PROBE_SECONDS)
    return longest


@dataclass(frozen=True)
class Scrape:
    """Seconds of one scrape as Prometheus sees it, lines, and the longest answer of /healthz meanwhile."""

    seconds: float
    lines: int
    stall: float


def timed_scrape(operator: OperatorProcess, span: float) -> Scrape:
    """One scrape while another client asks for /healthz during `span` seconds."""
    stalls: list[float] = []
    probe = threading.Thread(target=lambda: stalls.append(stalled_by(operator, span)))
    probe.start()
    time.sleep(4 * PROBE_SECONDS)
    asked = time.perf_counter()
    text = scrape(operator)
    seconds = time.perf_counter() - asked
    probe.join()
    return Scrape(seconds, text.count("\n"), stalls[0] if stalls else float("nan"))


def summed(text: str, name: str) -> float:
    """The sum of all samples of a metric."""
    samples = re.findall(rf"^{name}(?:{{[^\n]*}})? (\S+)$", text, re.MULTILINE)
    return sum(float(sample) for sample in samples)


@dataclass(frozen=True)
class Cost:
    """Where all counters stood at one moment; the difference of two is what was spent between."""

    moment: float
    cpu: float
    commands: float
    redis_cpu: float

    @classmethod
    def now(cls, operator: OperatorProcess, server: RedisServer) -> "Cost":
        """Of the operator and its broker."""
        with server.client() as client:
            told = client.info("all")
        busy = told["used_cpu_sys"] + told["used_cpu_user"]
        return cls(time.perf_counter(), cpu_seconds(operator.pid), told["total_commands_processed"], busy)
