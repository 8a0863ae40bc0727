"""Celeriac's agent: what a Celery worker has to know about its operator, in one file.

    celery -A user.app worker -I celeriac_agent

It needs nothing but Celery 5.3 to 5.7 on Redis and Python 3.9. It keeps the messages that this worker holds in keys of
the worker's own, puts them back where they came from, reports once a second, and drains the worker on request. An error
in it never takes the worker down: what it cannot do is missing from the `capabilities` of its report.

Environment (set by the operator; without CELERIAC_POOL_UID the file does nothing):

    CELERIAC_POOL_UID, CELERIAC_POOL, CELERIAC_NAMESPACE, CELERIAC_POD_UID, CELERIAC_POD_NAME   who this worker is
    CELERIAC_RUN_DIR           a folder; the file `heartbeat` in it is touched with each report
    CELERIAC_MAX_ATTEMPTS      a message started in so many processes that died becomes a dead letter (5)
    CELERIAC_DISABLE_PREFETCH  1: reserve only what can run at once, and a little ahead of short tasks
    CELERIAC_AGENT_WITHOUT     comma-separated names of HOOKS that are to be treated as missing: for tests of faults
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import threading
import time
import uuid
import weakref
from bisect import bisect
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import celery
import kombu
import redis
from celery import bootsteps, signals
from celery.utils.log import get_logger
from celery.worker import state as worker_state
from kombu.utils.json import dumps  # kombu hands over decoded messages: dates, UUIDs and decimals in their headers

logger = get_logger("celeriac")

REPORT_SECONDS = 1.0
TICK_SECONDS = 0.2
SOCKET_SECONDS = 1.0  # how long a silent Redis may hold up the worker's loop,
BACK_OFF_SECONDS = 5.0  # and how rarely
VISIBILITY_SECONDS = 10 * 365 * 86400  # the operator restores, not the clock
STARTED_SCORE = 1e12  # added to a message's score in the index of unacked messages once it was started
AHEAD = 5  # slots times this are reserved while tasks are short: what Celery's default multiplier amounts to
HANDED_SECONDS = 1.0  # a child that was handed a task has begun it by then
SETTLE_SECONDS = 10.0  # an acknowledgement that was not sent by then failed
SHORT_SECONDS = 0.1  # tasks that take less are worth fetching ahead of,
PATIENCE_TICKS = 5  # and what was fetched ahead of longer ones goes back after so many ticks
BATCH = 200  # messages moved per round trip
SIGTERM_BIT = 1 << 14
REPORT_VERSION = 1
QUEUE_STAMP, DEATHS_STAMP, DEAD_STAMP = "celeriac_queue", "celeriac_deaths", "celeriac_dead"
UNROUTABLE = "unroutable"


# ---------------------------------------------------------------------------------------------------------------------
# Who this worker is
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """This start of this worker; `process` is new for each start, `started` is Unix seconds on the node's clock."""

    pool_uid: str
    pool: str
    namespace: str
    pod: str
    pod_uid: str
    process: str
    started: float
    max_attempts: int
    run_dir: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], now: float) -> Identity:
        """Read the variables that the operator sets; a name that is missing is replaced by the host's."""
        pod = environ.get("CELERIAC_POD_NAME") or os.uname().nodename
        attempts = environ.get("CELERIAC_MAX_ATTEMPTS", "")
        return cls(
            pool_uid=environ["CELERIAC_POOL_UID"],
            pool=environ.get("CELERIAC_POOL", ""),
            namespace=environ.get("CELERIAC_NAMESPACE", ""),
            pod=pod,
            pod_uid=environ.get("CELERIAC_POD_UID") or pod,
            process=f"{pod}.{uuid.uuid4().hex[:8]}",
            started=now,
            max_attempts=int(attempts) if attempts.isdigit() else 5,
            run_dir=environ.get("CELERIAC_RUN_DIR", ""),
        )


@dataclass(frozen=True)
class Keys:
    """The keys of one process in Redis, as kombu names them: without the global prefix."""

    prefix: str
    unacked: str
    index: str
    mutex: str
    separator: str
    steps: tuple[int, ...]
    visibility_timeout: float

    @classmethod
    def of_app(cls, options: Mapping[str, Any], process: str) -> Keys:
        """Derive the process's own keys from the application's transport options; the timeout is the app's own."""
        return cls(
            prefix=options.get("global_keyprefix") or "",
            unacked=f"{options.get('unacked_key', 'unacked')}.{process}",
            index=f"{options.get('unacked_index_key', 'unacked_index')}.{process}",
            mutex=f"{options.get('unacked_mutex_key', 'unacked_mutex')}.{process}",
            separator=options.get("sep", "\x06\x16"),
            steps=tuple(sorted(options.get("priority_steps") or (0, 3, 6, 9))),
            visibility_timeout=float(options.get("visibility_timeout") or 3600),
        )

    @classmethod
    def of_entry(cls, prefix: str, entry: Mapping[str, Any]) -> Keys:
        """Read the keys of another process from its entry in the registry."""
        return cls(
            prefix=prefix,
            unacked=entry["unacked"],
            index=entry["index"],
            mutex=entry["mutex"],
            separator=entry["separator"],
            steps=tuple(entry["prioritySteps"]),
            visibility_timeout=float(entry["visibilityTimeout"]),
        )

    def transport_options(self) -> dict[str, Any]:
        """What kombu has to be told so that it uses these keys."""
        return {
            "unacked_key": self.unacked,
            "unacked_index_key": self.index,
            "unacked_mutex_key": self.mutex,
            "visibility_timeout": VISIBILITY_SECONDS,
        }


# ---------------------------------------------------------------------------------------------------------------------
# Messages: pure functions on the JSON that kombu keeps
# ---------------------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a message goes: a list (without prefix) and its end; no list means that it is dropped."""

    key: str | None
    payload: str = ""
    leftmost: bool = False
    dead: bool = False


def delivery_info(message: dict[str, Any]) -> dict[str, Any]:
    """The message's own delivery info, made if it is not there."""
    info = message.setdefault("properties", {}).setdefault("delivery_info", {})
    return info if isinstance(info, dict) else {}


def list_of(queue: str, message: Mapping[str, Any], separator: str, steps: Collection[int]) -> str:
    """Name the list of the message's priority, as kombu does: rounded down to a step, step 0 without a suffix."""
    try:
        priority = max(min(int(message["properties"]["priority"]), 9), 0)
    except (TypeError, ValueError, KeyError):
        priority = 0
    ordered = sorted(steps)
    step = ordered[max(bisect(ordered, priority) - 1, 0)]
    return f"{queue}{separator}{step}" if step else queue


def source_queue(
    message: dict[str, Any], exchange: str, routing_key: str, bound: Callable[[str], Collection[str]]
) -> str | None:
    """The queue a message came from, "" for a broadcast, None if nobody can tell.

    The stamp says it. A message without one belongs to the queue named by its routing key, or to the one queue that is
    bound to its exchange; several are a matter of routing, which would lose or double it.
    """
    stamp = delivery_info(message).get(QUEUE_STAMP)
    if isinstance(stamp, str):
        return stamp
    if not exchange:
        return routing_key or None
    queues = set(bound(exchange))
    return queues.pop() if len(queues) == 1 else None


def mark_redelivered(message: dict[str, Any]) -> None:
    """Say that the message was delivered before, in the two places that kombu uses."""
    headers = message.get("headers")
    if not isinstance(headers, dict):
        headers = message["headers"] = {}
    headers["redelivered"] = True
    delivery_info(message)["redelivered"] = True


def place(message: dict[str, Any], queue: str | None, keys: Keys, *, died: bool, max_attempts: int) -> Place:
    """Decide where a message goes; with `died`, the process in which it was started died, which is counted in it."""
    info = delivery_info(message)
    if queue == "":
        return Place(None)
    deaths = int(info.get(DEATHS_STAMP) or 0)
    if died:
        deaths += 1
        info[DEATHS_STAMP] = deaths
    if queue is None:
        info[DEAD_STAMP] = "its queue is unknown: no stamp, and its exchange has not exactly one queue"
        return Place(dead_list(UNROUTABLE), dumps(message), leftmost=True, dead=True)
    if died and deaths >= max_attempts:
        info[DEAD_STAMP] = f"it was started in {deaths} processes that died"
        return Place(dead_list(queue), dumps(message), leftmost=True, dead=True)
    return Place(list_of(queue, message, keys.separator, keys.steps), dumps(message))


def dead_list(queue: str) -> str:
    """The list of a queue's dead letters."""
    return f"celeriac:dead:{queue}"


def newest_first(scores: Mapping[str, float], tags: Iterable[str]) -> list[str]:
    """Order tags so that pushing them one by one to the consumed end leaves the oldest next in line."""
    return sorted(tags, key=lambda tag: scores.get(tag, 0.0) % STARTED_SCORE, reverse=True)


def without_credentials(address: str) -> str:
    """A broker's address without user, password and query; of several, joined by `;`, the first."""
    first = address.split(";", 1)[0].split("?", 1)[0]
    scheme, found, rest = first.partition("://")
    if not found:
        scheme, rest = "redis", first
    return f"{scheme}://{rest.rsplit('@', 1)[-1]}"


# ---------------------------------------------------------------------------------------------------------------------
# Signals: does SIGTERM reach the worker?
# ---------------------------------------------------------------------------------------------------------------------


def takes_sigterm(status: str) -> bool | None:
    """Whether a process, by its /proc/<pid>/status, catches or blocks SIGTERM; None if the text does not say."""
    masks = re.findall(r"^Sig(?:Cgt|Blk):\s*([0-9a-fA-F]+)$", status, re.MULTILINE)
    return any(int(mask, 16) & SIGTERM_BIT for mask in masks) if len(masks) == 2 else None


def parent_of(status: str) -> int:
    """The parent's pid by /proc/<pid>/status; 0 if the text does not say."""
    found = re.search(r"^PPid:\s*(\d+)$", status, re.MULTILINE)
    return int(found.group(1)) if found else 0


def sigterm_arrives(pid: int, read: Callable[[int], str]) -> bool | None:
    """Whether every ancestor up to PID 1 takes SIGTERM: one that does not is a shell that keeps it from the worker."""
    try:
        ancestor = parent_of(read(pid)) if pid != 1 else 0
        while ancestor > 0:
            status = read(ancestor)
            taken = takes_sigterm(status)
            if not taken:
                return taken
            ancestor = parent_of(status) if ancestor != 1 else 0
    except OSError:
        return None
    return True


def start_ticks(pid: int) -> str:
    """When a process started, in ticks since boot: a pid comes again in a new container, this does not; "" if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def is_alive(pid: Any, ticks: Any) -> bool:
    """Whether the process that had this pid and start is running still."""
    return isinstance(pid, int) and bool(ticks) and start_ticks(pid) == ticks


def read_status(pid: int) -> str:
    """The text of /proc/<pid>/status."""
    return Path(f"/proc/{pid}/status").read_text()


# ---------------------------------------------------------------------------------------------------------------------
# Hooks: what of Celery and kombu is private, and has to be there
# ---------------------------------------------------------------------------------------------------------------------


def _has(owner: Any, name: str, *parameters: str) -> bool:
    function = getattr(owner, name, None)
    if function is None:
        return False
    return not parameters or set(parameters) <= set(inspect.signature(function).parameters)


def _channel() -> Any:
    from kombu.transport.redis import Channel

    return Channel


def _options_are_taken() -> bool:
    needed = {"unacked_key", "unacked_index_key", "unacked_mutex_key", "visibility_timeout"}
    return needed <= set(_channel().from_transport_options)


def _qos_is_known() -> bool:
    from kombu.transport.virtual import QoS

    channel = type("Channel", (), {"do_restore": False})()
    qos = QoS(channel)
    return all(hasattr(qos, name) for name in ("_delivered", "_dirty", "_quick_ack", "_quick_append"))


def _has_timer_queue() -> bool:
    from kombu.asynchronous.timer import Timer

    return hasattr(Timer(), "_queue")


def _keeps_running_tasks() -> bool:
    # Before 5.6 results of tasks that ran over a reconnect never reach the parent of prefork.
    return celery.VERSION[:2] >= (5, 6) and hasattr(_channel().QoS, "restore_unacked_once")


def _worker_class() -> Any:
    from celery.worker import WorkController

    return WorkController


def _base_pool() -> Any:
    from celery.concurrency.base import BasePool

    return BasePool


HOOKS: dict[str, Callable[[], bool]] = {
    # own keys for messages in flight, safe only all together
    "transport-options": _options_are_taken,
    "connection-pool": lambda: _has(_channel(), "_get_pool", "asynchronous"),
    "deliver": lambda: _has(kombu.transport.virtual.Transport, "_deliver", "message", "queue"),
    "restore-message": lambda: _has(
        _channel(), "_do_restore_message", "payload", "exchange", "routing_key", "pipe", "leftmost"
    ),
    "restore-by-tag": lambda: _has(_channel().QoS, "restore_by_tag", "tag", "client", "leftmost"),
    # draining
    "brpop-start": lambda: _has(_channel(), "_brpop_start", "timeout") and hasattr(_channel(), "_in_poll"),
    "can-consume": lambda: _has(_channel().QoS, "can_consume"),
    "qos": _qos_is_known,
    "process-task": lambda: _has(_worker_class(), "_process_task", "req"),
    "worker-state": lambda: all(
        hasattr(worker_state, name) for name in ("requests", "reserved_requests", "active_requests", "total_count")
    ),
    "timer-queue": _has_timer_queue,
    # exact figures
    "apply-async": lambda: _has(_base_pool(), "apply_async", "target", "args", "kwargs"),
    # comforts
    "started-mark": lambda: hasattr(redis.Connection, "send_packed_command"),
    "keep-running": _keeps_running_tasks,
}
INFLIGHT = frozenset({"transport-options", "connection-pool", "deliver", "restore-message", "restore-by-tag"})
DRAIN = INFLIGHT | {"brpop-start", "can-consume", "qos", "process-task", "worker-state", "timer-queue", "apply-async"}
EXACT = frozenset({"worker-state", "apply-async", "process-task"})


class Hooks:
    """Which hooks are there, and what that allows."""

    def __init__(self, without: Collection[str] = ()) -> None:
        self.missing: list[str] = [name for name, check in HOOKS.items() if name in without or not self._holds(check)]

    @staticmethod
    def _holds(check: Callable[[], bool]) -> bool:
        try:
            return bool(check())
        except Exception:
            return False

    def have(self, *names: str) -> bool:
        """Whether all of these hooks are there."""
        return not set(names) & set(self.missing)

    def lose(self, name: str) -> None:
        """Note that a hook turned out not to work."""
        if name not in self.missing:
            self.missing.append(name)

    @property
    def inflight(self) -> bool:
        """Whether messages are kept in keys of the worker's own; the registry counts once writing to it was refused."""
        return self.have(*INFLIGHT, "registry")

    @property
    def drain(self) -> bool:
        """Whether the worker can be drained."""
        return self.have(*DRAIN, "registry")

    def capabilities(self) -> list[str]:
        """What the operator may rely on."""
        allowed = {"inflight": self.inflight, "drain": self.drain, "exact": self.have(*EXACT)}
        return [name for name, holds in allowed.items() if holds]


# ---------------------------------------------------------------------------------------------------------------------
# Redis
# ---------------------------------------------------------------------------------------------------------------------

# Moves one message, if it still is what was read: idempotent, whoever races. KEYS: unacked, index[, list];
# ARGV: tag, raw[, payload, RPUSH or LPUSH].
MOVE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if KEYS[3] then redis.call(ARGV[4], KEYS[3], ARGV[3]) end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""


@dataclass
class Moved:
    """How many messages went where."""

    queued: int = 0
    dead: int = 0
    dropped: int = 0
    unreadable: int = 0  # no message of kombu's: left where they are


def client_of(channel: Any) -> Any:
    """A Redis client with the address and credentials of a channel, by kombu's own means, and short timeouts.

    TLS, ACL users, Sentinel and unix sockets come with it. It has connections of its own.
    """
    saved = {name: getattr(channel, name, None) for name in ("socket_timeout", "socket_connect_timeout")}
    manager = getattr(channel, "_sentinel_manager", None)
    try:
        for name in saved:
            setattr(channel, name, SOCKET_SECONDS)
        return redis.Redis(connection_pool=channel._get_pool(asynchronous=False))
    finally:
        for name, value in saved.items():
            setattr(channel, name, value)
        if manager is not None:
            channel._sentinel_manager = manager


class Store:
    """The agent's keys in Redis. All methods raise redis-py's errors."""

    def __init__(self, client: Any, identity: Identity, keys: Keys) -> None:
        self.client = client
        self.identity = identity
        self.keys = keys
        pool = f"{keys.prefix}celeriac:{identity.pool_uid}"
        self.pools = f"{keys.prefix}celeriac:pools"
        self.processes, self.reports, self.marks = f"{pool}:processes", f"{pool}:reports", f"{pool}:drain"
        self.unacked = keys.prefix + keys.unacked

    def register(self, queues: list[str]) -> None:
        """Make this process known, so that whatever it will hold can be found; raises when it could not be moved."""
        who, keys = self.identity, self.keys
        entry = {
            "pod": who.pod,
            "podUid": who.pod_uid,
            "namespace": who.namespace,
            "pool": who.pool,
            "poolUid": who.pool_uid,
            "started": who.started,
            "unacked": keys.unacked,
            "index": keys.index,
            "mutex": keys.mutex,
            "separator": keys.separator,
            "prioritySteps": list(keys.steps),
            "queues": queues,
            "visibilityTimeout": keys.visibility_timeout,
            "maxAttempts": who.max_attempts,
            "pid": os.getpid(),
            "ticks": start_ticks(os.getpid()),
        }
        self.client.eval(MOVE, 2, self.unacked, keys.prefix + keys.index, "", "")  # an ACL may forbid it
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hset(self.pools, who.pool_uid, json.dumps({"namespace": who.namespace, "name": who.pool}))
            pipe.hset(self.processes, who.process, json.dumps(entry))
            pipe.execute()

    def beat(self, report: str) -> tuple[str | None, int, bool]:
        """Write a report, read the pod's drain mark and the number of messages held: one round trip.

        The third value says that no report was there before.
        """
        who = self.identity
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hget(self.marks, who.pod_uid)
            pipe.hlen(self.unacked)
            pipe.hset(self.reports, who.pod_uid, report)
            mark, held, added = pipe.execute()
        return (text(mark) if mark else None), int(held), bool(added)

    def predecessors(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The registered processes of earlier starts in this very pod; another worker may live beside this one."""
        found = []
        for name, raw in self.client.hgetall(self.processes).items():
            entry = json.loads(raw)
            ours = entry.get("podUid") == self.identity.pod_uid and text(name) != self.identity.process
            if ours and not is_alive(entry.get("pid"), entry.get("ticks")):
                found.append((text(name), entry))
        return found

    def holds_nothing(self, keys: Keys) -> bool:
        """Whether no message is left under `keys`."""
        return not self.client.hlen(keys.prefix + keys.unacked)

    def restore(self, keys: Keys, *, died: bool, skip: Collection[str] = ()) -> Moved:
        """Put back all that was held under `keys`, except `skip`; started messages count a death with `died`."""
        client, moved = self.client, Moved()
        scores = {text(tag): score for tag, score in client.zrange(keys.prefix + keys.index, 0, -1, withscores=True)}
        tags = [text(tag) for tag in client.hkeys(keys.prefix + keys.unacked)]

        def decide(tag: str, message: dict[str, Any], queue: str | None) -> Place:
            mark_redelivered(message)
            started = died and scores.get(tag, 0.0) >= STARTED_SCORE
            return place(message, queue, keys, died=started, max_attempts=self.identity.max_attempts)

        self._move(keys, newest_first(scores, [tag for tag in tags if tag not in skip]), decide, moved)
        return moved

    def give_back(self, tags: list[str]) -> Moved:
        """Put messages of this process that were not started back to where they came from, as they were."""
        moved = Moved()

        def decide(tag: str, message: dict[str, Any], queue: str | None) -> Place:
            return place(message, queue, self.keys, died=False, max_attempts=self.identity.max_attempts)

        self._move(self.keys, tags, decide, moved)
        return moved

    def forget(self, process: str, mutex: str) -> None:
        """Take a process that holds nothing any more out of the registry, and its report if it is the last one."""
        raw = self.client.hget(self.reports, self.identity.pod_uid)
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hdel(self.processes, process)
            pipe.delete(self.keys.prefix + mutex)
            if raw is not None and json.loads(raw).get("process") == process:
                pipe.hdel(self.reports, self.identity.pod_uid)
            pipe.execute()

    def _bound(self, keys: Keys) -> Callable[[str], Collection[str]]:
        def queues_of(exchange: str) -> Collection[str]:
            members = self.client.smembers(f"{keys.prefix}_kombu.binding.{exchange}")
            return {text(member).split(keys.separator)[-1] for member in members}

        return queues_of

    def _move(
        self, keys: Keys, tags: list[str], decide: Callable[[str, dict[str, Any], str | None], Place], moved: Moved
    ) -> None:
        unacked, index = keys.prefix + keys.unacked, keys.prefix + keys.index
        for start in range(0, len(tags), BATCH):
            batch = tags[start : start + BATCH]
            places = []
            with self.client.pipeline(transaction=False) as pipe:
                for number, raw in enumerate(self.client.hmget(unacked, batch)):
                    if raw is None:
                        continue
                    tag = batch[number]
                    try:
                        message, exchange, routing_key = json.loads(raw)
                        queue = source_queue(message, exchange or "", routing_key or "", self._bound(keys))
                        target = decide(tag, message, queue)
                    except (ValueError, TypeError, AttributeError, KeyError):
                        moved.unreadable += 1
                        continue
                    places.append(target)
                    if target.key is None:
                        pipe.eval(MOVE, 2, unacked, index, tag, raw)
                    else:
                        push = "LPUSH" if target.leftmost else "RPUSH"
                        pipe.eval(MOVE, 3, unacked, index, keys.prefix + target.key, tag, raw, target.payload, push)
                done = pipe.execute() if places else []
            for number, target in enumerate(places):
                count = done[number]
                moved.dropped += count * (target.key is None)
                moved.dead += count * target.dead
                moved.queued += count * (target.key is not None and not target.dead)


def text(value: Any) -> str:
    """A reply of Redis as text, whether the application decodes replies or not."""
    return value.decode() if isinstance(value, bytes) else str(value)


# ---------------------------------------------------------------------------------------------------------------------
# Slots: what has passed the gate
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Slot:
    """A request handed to the pool; `since` (monotonic seconds) is set once a slot of the pool has taken it."""

    request: Any
    tag: str
    result: Any = None
    since: float | None = None
    child: int | None = None
    ending: bool = False  # Celery is told of its end, and may still be on its way to acknowledge it

    def queued_future(self) -> Any:
        """The future of the threads pool in which the request waits, or None."""
        return getattr(self.result, "f", None)

    def is_handed_over(self) -> bool:
        """Whether a child of prefork was given the request, and has not been heard of since."""
        return self.since is None and getattr(self.result, "_write_to", None) is not None


@dataclass
class Settling:
    """A message whose request has ended; its acknowledgement is on its way since then (monotonic seconds)."""

    message: Any
    finished: bool  # it must not run again
    since: float


def reserved_requests() -> list[Any]:
    """Celery's set of them as it is now; threads of the pool take requests out meanwhile."""
    references = worker_state.reserved_requests.data.copy()
    return [request for request in (reference() for reference in references) if request is not None]


class Slots:
    """All requests between the gate and their end, the one truth about what this worker has started."""

    def __init__(self) -> None:
        self.passed: dict[int, Slot] = {}
        self.settling: dict[str, Settling] = {}
        self.orphans: dict[int, Slot] = {}  # what runs over a reconnect, by the number of the pool's job
        self.foreign: set[object] = set()  # what was handed to the pool by others than Celery's requests
        self.lost: set[str] = set()  # tags whose child died under them
        self.mean_seconds = SHORT_SECONDS  # of the latest tasks, weighted towards the last
        self._ended: deque[float] = deque()
        self._busy = 0.0

    def enter(self, request: Any) -> Slot:
        """Note that a request is being handed to the pool."""
        slot = self.passed[id(request)] = Slot(request, request.message.delivery_tag)
        return slot

    def accepted(self, slot: Slot, child: int | None = None) -> None:
        """Note that a slot of the pool has taken the request: with prefork, the child of that pid."""
        slot.since, slot.child = time.monotonic(), child

    def leave(self, slot: Slot, succeeded: bool = False) -> None:
        """Note that a request has ended; called from any thread, more than once."""
        if self.passed.get(id(slot.request)) is not slot:
            return
        request, message = slot.request, slot.request.message
        if slot.tag and getattr(request, "acknowledged", False) and not message.acknowledged:
            self.settling[slot.tag] = Settling(message, succeeded or not request.task.acks_late, time.monotonic())
        self.passed.pop(id(request), None)
        if slot.since is not None:
            seconds = time.monotonic() - slot.since
            self._ended.append(seconds)
            self.mean_seconds += (seconds - self.mean_seconds) / 8

    def prune(self) -> set[str]:
        """Let go of requests that Celery let go of without telling (revoked, lost over a reconnect).

        Returns the tags of messages which failed and were neither acknowledged nor put back: they run again.
        """
        for slot in list(self.passed.values()):
            future = slot.queued_future()
            if slot.ending or (future is not None and not future.done()):
                continue
            if slot.request not in worker_state.reserved_requests and slot.request not in worker_state.active_requests:
                self.leave(slot)
        for job, slot in list(self.orphans.items()):
            if not start_ticks(slot.child or 0):
                self.end_orphan(job)
        again = set()
        for tag, end in list(self.settling.items()):
            if not end.message.acknowledged:
                if time.monotonic() - end.since < SETTLE_SECONDS:
                    continue
                end.since = time.monotonic()
                if end.finished:
                    end.message.channel.qos.ack(tag)
                else:
                    again.add(tag)
            self.settling.pop(tag, None)
        return again

    def cancel_queued(self, only: Collection[str] | None = None) -> set[str]:
        """Take back what waits in the executor of the threads pool and has not begun; returns the tags."""
        cancelled = set()
        for slot in list(self.passed.values()):
            future = slot.queued_future() if only is None or slot.tag in only else None
            if future is not None and future.cancel():
                self.passed.pop(id(slot.request), None)
                cancelled.add(slot.tag)
        return cancelled

    def waiting(self) -> set[str]:
        """The tags of requests that are due and wait for a slot."""
        begun = {slot.tag for slot in list(self.passed.values()) if slot.since is not None}
        return {request.message.delivery_tag for request in reserved_requests()} - begun

    def are_short(self) -> bool:
        """Whether tasks took a short time lately, and those that run have not taken longer."""
        now = time.monotonic()
        running = [slot.since for slot in list(self.passed.values()) if slot.since is not None]
        return self.mean_seconds < SHORT_SECONDS and all(now - since < SHORT_SECONDS for since in running)

    def acknowledged(self) -> set[str]:
        """The tags of messages that must not run again, and of which Redis may not have been told."""
        early = {
            slot.tag
            for slot in list(self.passed.values())
            if slot.tag and slot.request.acknowledged and not slot.request.message.acknowledged
        }
        return early | {tag for tag, end in list(self.settling.items()) if end.finished}

    def orphan(self) -> None:
        """After a reconnect that Celery did not carry its requests over: what runs has no message here any more."""
        self.settling.clear()
        for slot in list(self.passed.values()):
            if slot.since is None:
                self.passed.pop(id(slot.request), None)
            elif slot.child is not None:
                self.orphans[slot.result._job] = slot
            slot.tag = ""  # the message may come back to this very worker, under the same tag

    def end_orphan(self, job: int) -> None:
        """Note that a child has ended what it ran over a reconnect, or has died; Celery does not hear of it."""
        slot = self.orphans.pop(job, None)
        if slot is not None:
            worker_state.active_requests.discard(slot.request)
            worker_state.reserved_requests.discard(slot.request)
            self.leave(slot)

    def tags(self) -> set[str]:
        """The tags of all messages that must not be given back."""
        return {slot.tag for slot in list(self.passed.values())} | set(self.settling)

    def busy_seconds(self) -> float:
        """Slot-seconds since start, those of running requests included."""
        while self._ended:
            self._busy += self._ended.popleft()
        now = time.monotonic()
        return self._busy + sum(now - slot.since for slot in list(self.passed.values()) if slot.since is not None)


class StartedMarks:
    """Tells the index of unacked messages which of them were started, without waiting for Redis.

    A death counts for these only: a message that merely waited in a worker that died is innocent.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index = store.keys.prefix + store.keys.index
        self._connection: Any = None
        self._replies = 0
        self._lock = threading.Lock()

    def mark(self, tag: str) -> None:
        """Send one command; ZADD XX does nothing for a message that has been acknowledged since."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._store.client.connection_pool.make_connection()
                    self._connection.connect()
                command = self._connection.pack_command("ZADD", self._index, "XX", "INCR", int(STARTED_SCORE), tag)
                self._connection.send_packed_command(command, check_health=False)
                self._replies += 1
            except Exception:
                self._drop()

    def collect(self) -> None:
        """Read the replies that have arrived since."""
        with self._lock:
            try:
                while self._replies and self._connection.can_read(timeout=0):
                    self._replies -= 1
                    self._connection.read_response()
            except Exception:
                self._drop()

    def _drop(self) -> None:
        connection, self._connection, self._replies = self._connection, None, 0
        if connection is not None:
            connection.disconnect()


# ---------------------------------------------------------------------------------------------------------------------
# The channel: stamping, restoring, and not fetching
# ---------------------------------------------------------------------------------------------------------------------


class Channel:
    """The task consumer's channel of one connection, with the agent's overrides on the instance."""

    def __init__(self, agent: Agent, consumer: Any) -> None:
        self.agent = agent
        self.consumer = consumer
        self.raw = consumer.task_consumer.channel
        self.qos = self.raw.qos
        self._others: weakref.WeakSet[Any] = weakref.WeakSet()

    def take_over(self) -> None:
        """Install the overrides, each only where its hook is there."""
        hooks = self.agent.hooks
        if hooks.inflight:
            self._stamp_deliveries()
            self._restore_by_stamp()
            if hooks.have("keep-running"):
                self._keep_running_tasks()
            else:
                self._acknowledge_before_restoring()
        if hooks.drain:
            self._fetch_unless_drained()

    def give_up_own_keys(self, options: Mapping[str, Any]) -> None:
        """Return to the application's own keys; only before anything was consumed."""
        own = type(self.raw)
        later = self.consumer.connection.transport_options  # of channels that are yet to be made
        for name in self.agent.keys.transport_options():
            setattr(self.raw, name, options.get(name, getattr(own, name)))
            self.qos.__dict__.pop(name, None)
            later.pop(name, None)
            if name in options:
                later[name] = options[name]

    def polling(self) -> bool:
        """Whether a BRPOP is pending, on any channel: its reply may hold a message that is in no list any more."""
        return any(channel._in_poll for channel in list(self.raw.connection.channels))

    def hold_others(self) -> None:
        """Keep the channels of an application's own consumers from fetching under a mark, too."""
        for channel in list(self.raw.connection.channels):
            if channel is not self.raw and channel not in self._others:
                self._others.add(channel)
                self._fetch_unless_marked(channel)

    def _stamp_deliveries(self) -> None:
        transport = self.raw.connection
        deliver = transport._deliver

        def _deliver(message: dict[str, Any], queue: str) -> Any:
            try:
                info = delivery_info(message)
                broadcast = any(queue in channel.active_fanout_queues for channel in list(transport.channels))
                info[QUEUE_STAMP] = "" if broadcast else queue
                if info.get("exchange"):
                    # An exchange copies a message to several queues with its tag. A worker that consumes from two of
                    # them would hold one of the copies only, and acknowledge both at once.
                    message["properties"]["delivery_tag"] = str(uuid.uuid4())
                self.agent.slots.lost.discard(message["properties"]["delivery_tag"])
            except Exception as error:
                self.agent.failed("stamp", error)
            return deliver(message, queue)

        transport._deliver = _deliver

    def _restore_by_stamp(self) -> None:
        raw, qos = self.raw, self.qos
        original = raw._do_restore_message

        def _do_restore_message(
            payload: Any, exchange: Any, routing_key: Any, pipe: Any, leftmost: bool = False
        ) -> Any:
            try:
                target = self._place_of(payload)
            except Exception as error:
                self.agent.failed("restore", error)
                target = None
            if target is None:
                return original(payload, exchange, routing_key, pipe, leftmost)
            if target.key is not None:
                (pipe.lpush if leftmost or target.leftmost else pipe.rpush)(target.key, target.payload)
            return None

        def restore_unacked(client: Any = None) -> None:
            for tag in reversed(list(qos._delivered)):  # kombu's own goes oldest first, which turns the order round
                qos.restore_by_tag(tag, client=client)
            qos._delivered.clear()

        raw._do_restore_message = _do_restore_message
        qos.restore_unacked = restore_unacked

    def _place_of(self, payload: dict[str, Any]) -> Place | None:
        agent, queue = self.agent, delivery_info(payload).get(QUEUE_STAMP)
        if not isinstance(queue, str):
            return None
        tag = payload["properties"].get("delivery_tag")
        lost = tag in agent.slots.lost  # kombu may ask again for the same message when its transaction is repeated
        mark_redelivered(payload)
        target = place(payload, queue, agent.keys, died=lost, max_attempts=agent.identity.max_attempts)
        agent.dead += target.dead
        return target

    def _fetch_unless_drained(self) -> None:
        raw, qos, drain, prefetch = self.raw, self.qos, self.agent.drain, self.agent.prefetch
        can_consume = qos.can_consume

        def can_consume_or_drain() -> bool:
            # The reply of a BRPOP has to be read, free slots or not: what is in it is in no list any more.
            if drain.token or raw._in_poll:
                return True
            return (prefetch is None or prefetch.finds_room()) and can_consume()

        qos.can_consume = can_consume_or_drain
        self._fetch_unless_marked(raw)

    def _fetch_unless_marked(self, channel: Any) -> None:
        start, drain = channel._brpop_start, self.agent.drain

        def _brpop_start(*args: Any, **kwargs: Any) -> Any:
            return None if drain.token else start(*args, **kwargs)

        channel._brpop_start = _brpop_start

    def _keep_running_tasks(self) -> None:
        qos, agent = self.qos, self.agent
        original = qos.restore_unacked_once

        def restore_unacked_once(*args: Any, **kwargs: Any) -> Any:
            worker = agent.worker
            cancels = agent.app.conf.get("worker_cancel_long_running_tasks_on_connection_loss")
            if worker.blueprint.state != bootsteps.RUN or agent.stopping or cancels or agent.loops_end():
                return original(*args, **kwargs)
            self._hear_of_starts()
            # The connection was lost. After the reconnect, all that is not really running is restored.
            qos._on_collect.cancel()
            qos._delivered.clear()
            qos._delivered.restored = True
            return None

        qos.restore_unacked_once = restore_unacked_once

    def _acknowledge_before_restoring(self) -> None:
        qos, slots = self.qos, self.agent.slots
        original = qos.restore_unacked_once

        def restore_unacked_once(*args: Any, **kwargs: Any) -> Any:
            self._hear_of_starts()
            for tag in slots.acknowledged():
                try:
                    qos.ack(tag)
                except Exception as error:
                    qos._quick_ack(tag)  # the next connection's channel acknowledges it
                    self.agent.failed("acknowledge", error)
            return original(*args, **kwargs)

        qos.restore_unacked_once = restore_unacked_once

    def _hear_of_starts(self) -> None:
        agent = self.agent
        try:
            if agent.is_prefork():
                hear_of_starts(agent.worker.pool._pool, agent.slots)
            else:
                time.sleep(0)  # a greenlet that was handed a task begins it now
        except Exception as error:
            agent.failed("hear what was started", error)

    def adopt(self, slots: Slots) -> set[str]:
        """After a reconnect: acknowledge through this channel what is still running; returns the tags to be kept."""
        slots.cancel_queued()
        slots.prune()  # tasks that Celery has cancelled are nobody's
        if not self.agent.hooks.have("keep-running"):
            for tag in slots.acknowledged():
                self.qos.ack(tag)
            slots.orphan()
            return set()
        kept = set()
        for slot in list(slots.passed.values()):
            if slot.since is None and self.agent.is_prefork():
                slots.passed.pop(id(slot.request), None)  # the pool has thrown away what no child had accepted
            elif not slot.request.message.acknowledged:
                slot.request.message.channel = self.raw
                self.qos._quick_append(slot.tag, slot.request.message)
                if slot.request.acknowledged:  # early, and lost with the connection
                    self.qos.ack(slot.tag)
                    slot.tag = ""
                else:
                    kept.add(slot.tag)
        for tag, end in list(slots.settling.items()):
            end.message.channel = self.raw
            if end.finished and not end.message.acknowledged:
                self.qos.ack(tag)
            slots.settling.pop(tag, None)
        return kept


# ---------------------------------------------------------------------------------------------------------------------
# Draining
# ---------------------------------------------------------------------------------------------------------------------


class Drain:
    """The operator's mark in force, and how far the loop has obeyed it.

    The gate and the channel look at `token` at each message; giving back is done by the loop alone, once no BRPOP is
    pending, so that everything goes back at once and in order.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.token: str | None = None
        self.seen: str | None = None
        self.at_gate: set[str] = set()  # tags whose greenlets wait for a slot
        self.held: set[str] = set()  # tags that nothing here will start any more: they go back, mark or not

    def step(self, channel: Channel) -> None:
        """Called by the worker's loop, five times a second."""
        if self.token is None:
            self.seen = None
            if self.held:
                self.give_back(channel, only=set())
            return
        channel.hold_others()
        if channel.polling():
            return
        token = self.token
        self.give_back(channel)
        self.seen = token

    def quiet(self) -> bool:
        """Whether the loop has obeyed the mark and nothing is running, waiting, or on its way."""
        agent = self.agent
        if self.token is None or self.token != self.seen or agent.channel is None or agent.channel.polling():
            return False
        return not (
            self.held
            or agent.slots.passed
            or agent.slots.settling
            or agent.slots.foreign
            or worker_state.active_requests
            or worker_state.reserved_requests
        )

    def give_back(self, channel: Channel, only: Collection[str] | None = None) -> None:
        """Put what was not started back into its queue: all of it, or what is held and some tags.

        Called by the loop alone. What Celery might start is taken from it first, whatever becomes of the move; what is
        nowhere to be found is somebody else's (a task's own strategy may collect messages), and stays.
        """
        agent, qos = self.agent, channel.qos
        channel.consumer.perform_pending_operations()
        self.held |= agent.slots.cancel_queued(only)
        busy = agent.slots.tags() | qos._dirty
        delivered = {tag: message for tag, message in list(qos._delivered.items()) if tag not in busy}
        self.held &= set(delivered)
        wanted = {tag for tag in delivered if only is None or tag in only or tag in self.held}
        self.held |= self._withdraw(channel.consumer, {id(delivered[tag]) for tag in wanted})
        going = [tag for tag in delivered if tag in self.held]
        if not going:
            return
        moved = agent.store.give_back(going[::-1])
        agent.given_back += moved.queued
        agent.dead += moved.dead
        for tag in going:
            qos._quick_ack(tag)
        self.held -= set(going)

    def _withdraw(self, consumer: Any, messages: set[int]) -> set[str]:
        """Remove messages, by id, from wherever Celery might start them; returns the tags of those that were there."""
        found: set[str] = set()

        def gone(request: Any) -> bool:
            message: Any = getattr(request, "message", None)
            if id(message) not in messages:
                return False
            found.add(message.delivery_tag)
            return True

        for item, entry in eta_entries(consumer.timer):
            if gone(entry.args[0]):
                consumer.timer.cancel(item if hasattr(item, "entry") and hasattr(item, "cancel") else entry)
                consumer.qos.decrement_eventually()
                forget_request(entry.args[0])
        for bucket in consumer.task_buckets.values():
            if bucket is not None and bucket.contents:
                kept = [item for item in bucket.contents if not gone(item[0])]
                bucket.contents.clear()
                bucket.contents.extend(kept)
        semaphore = getattr(self.agent.worker, "semaphore", None)
        if semaphore is not None and semaphore._waiting:
            waiting = [item for item in semaphore._waiting if not (item[1] and gone(item[1][0]))]
            semaphore._waiting.clear()
            semaphore._waiting.extend(waiting)
        for request in reserved_requests():
            tag = request.message.delivery_tag
            if id(request.message) in messages and tag in found | self.held | self.at_gate:
                found.add(tag)
                forget_request(request)
        return found


def forget_request(request: Any) -> None:
    """Take a request out of Celery's sets."""
    worker_state.reserved_requests.discard(request)
    getattr(worker_state, "scheduled_requests", set()).discard(request)
    if worker_state.requests.get(request.id) is request:
        worker_state.requests.pop(request.id, None)


class Prefetch:
    """Reserves what can run at once, and more while tasks are short: there a round trip to Redis would show.

    What waits behind a task that turns out long goes back, so that an idle neighbour can take it.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._ahead = False
        self._waits: dict[str, int] = {}  # tag: ticks
        self._starving = False
        self._bell: tuple[int, int] | None = None  # the two ends of a pipe

    def finds_room(self) -> bool:
        """Whether one more message may be fetched. On green pools the loop waits here for a slot, as at the gate.

        Otherwise it would sleep for up to 2 s whatever ends meanwhile.
        """
        if not self.has_room() and self.agent.is_green() and self.agent.gate is not None:
            self.agent.gate.await_slot()
        self._starving = not self.has_room()
        return not self._starving

    def listen(self, hub: Any) -> None:
        """Let the loop wake up when a thread has ended a task. The hub forgets this with each connection."""
        if self._bell is None:
            self._bell = os.pipe()
            for end in self._bell:
                os.set_blocking(end, False)
        hub.add_reader(self._bell[0], self._heard, self._bell[0])

    def ring(self) -> None:
        """A slot is free, says whichever thread: wake the loop if it had found no room."""
        if self._starving and self._bell is not None:
            self._starving = False
            os.write(self._bell[1], b"!")

    @staticmethod
    def _heard(end: int) -> None:
        os.read(end, 1024)

    def has_room(self) -> bool:
        """Whether one more message may be fetched."""
        worker = self.agent.worker
        slots = getattr(worker, "max_concurrency", None) or slots_of(worker.pool)  # --autoscale grows by what waits
        return len(worker_state.reserved_requests) < slots * (AHEAD if self._ahead else 1)

    def step(self, channel: Channel) -> None:
        """Called by the worker's loop, five times a second."""
        self._ahead = self.agent.slots.are_short()
        self._waits = {tag: self._waits.get(tag, 0) + 1 for tag in self.agent.slots.waiting()}
        late = {tag for tag, ticks in self._waits.items() if ticks > PATIENCE_TICKS}
        if late and not self._ahead:
            self.agent.drain.give_back(channel, late)


def eta_entries(timer: Any) -> list[tuple[Any, Any]]:
    """The timer's entries that hold a request for its ETA, each with the item it stands in."""
    found = []
    for item in list(getattr(timer, "_queue", ())):
        entry: Any = getattr(item, "entry", None)
        name = getattr(getattr(entry, "fun", None), "__name__", "")
        if name in ("apply_eta_task", "_limit_post_eta") and entry.args and not entry.canceled:
            found.append((item, entry))
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The report
# ---------------------------------------------------------------------------------------------------------------------


class Report:
    """What the operator is told once a second."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.counter = 0
        self.held: int | None = None  # HLEN of the own hash, by the last beat
        self.was_quiet = False
        self._fixed: dict[str, Any] = {}

    def describe(self, consumer: Any) -> None:
        """Read what stays the same while a connection lasts."""
        agent, app, worker = self.agent, self.agent.app, self.agent.worker
        limited = agent.prefetch is not None or bool(app.conf.get("worker_disable_prefetch"))
        pool = type(worker.pool)
        self._fixed = {
            "v": REPORT_VERSION,
            "process": agent.identity.process,
            "pod": agent.identity.pod,
            "celery": celery.__version__,
            "kombu": kombu.__version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "pool": f"{pool.__module__}:{pool.__name__}",
            "broker": without_credentials(consumer.connection.as_uri()),
            "prefix": agent.keys.prefix,
            "queues": agent.queues(),
            "prefetch": 0 if limited else int(worker.prefetch_multiplier or 0),
            "acksLate": bool(app.conf.task_acks_late),
            "visibilityTimeout": agent.keys.visibility_timeout,
            "signals": sigterm_arrives(os.getpid(), read_status),
        }

    def state(self, quiet: bool) -> str:
        """The worker's state; `drained` needs an empty hash, read after everything was quiet, and quiet still."""
        agent = self.agent
        if agent.phase != "consuming":
            return agent.phase
        if not agent.drain.token:
            return "consuming"
        return "drained" if quiet and self.was_quiet and self.held == 0 else "draining"

    def make(self, quiet: bool) -> dict[str, Any]:
        """The next report."""
        agent = self.agent
        self.counter += 1
        active, reserved = len(worker_state.active_requests), len(worker_state.reserved_requests)
        consumer = agent.channel.consumer if agent.channel else None
        buckets = list(consumer.task_buckets.values()) if consumer else []
        waiting = sum(len(bucket.contents) for bucket in buckets if bucket is not None)
        return {
            **self._fixed,
            "n": self.counter,
            "state": self.state(quiet),
            "slots": slots_of(agent.worker.pool),
            "token": agent.drain.token,
            "active": active,
            "reserved": max(reserved - active, 0) + waiting,
            "scheduled": len(eta_entries(consumer.timer)) if consumer else 0,
            "unacked": self.held if agent.hooks.inflight else None,
            "processed": max(sum(worker_state.total_count.values()) - active, 0),
            "busy": round(agent.slots.busy_seconds(), 3),
            "capabilities": agent.hooks.capabilities(),
            "missing": list(agent.hooks.missing),
            "givenBack": agent.given_back,
            "restored": agent.restored,
            "dead": agent.dead,
            "errors": agent.errors,
        }


def slots_of(pool: Any) -> int:
    """How many tasks a pool runs at once.

    `limit` of prefork is what it began with, not what it grew to; `num_processes` of green pools is what runs now,
    before Celery 5.6.
    """
    if getattr(pool, "uses_semaphore", False):
        return int(pool.num_processes or 1)
    return int(getattr(pool, "limit", None) or pool.num_processes or 1)


class Reporter:
    """Beats: one round trip to Redis each, from the worker's loop or from a thread of its own."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.thread: threading.Thread | None = None
        self._next = 0.0
        self._stop = threading.Event()
        self._reported = False

    def due(self) -> bool:
        """Whether it is time for the next beat."""
        return self.agent.channel is not None and not self._stop.is_set() and time.monotonic() >= self._next

    def beat(self) -> None:
        """Touch the heartbeat, report, and take the drain mark; an unreachable Redis is left alone for a while."""
        agent, report = self.agent, self.agent.report
        begun = time.monotonic()
        try:
            touch(agent.identity.run_dir)
        except OSError as error:
            agent.failed("touch the heartbeat", error)
        try:
            quiet, store = agent.drain.quiet(), agent.store
            made = report.make(quiet)
            mark, report.held, added = store.beat(json.dumps(made))
            if added and self._reported and agent.is_registered():
                store.register(agent.queues())  # Redis was emptied under this connection
            self._reported = True
            report.was_quiet = quiet
            self._obey(mark)
            hurried = agent.drain.token and made["state"] != "drained"
            self._next = begun + (TICK_SECONDS if hurried else REPORT_SECONDS)
        except Exception as error:
            report.was_quiet, report.held = False, None
            agent.failed("report", error)
            slow = time.monotonic() - begun > SOCKET_SECONDS / 2
            self._next = time.monotonic() + (BACK_OFF_SECONDS if slow else REPORT_SECONDS)

    def _obey(self, mark: str | None) -> None:
        drain = self.agent.drain
        if not self.agent.hooks.drain or mark == drain.token:
            return
        self.agent.report.was_quiet = False
        drain.token, drain.seen = mark, None

    def start_thread(self) -> None:
        """Beat from a daemon thread from now on: the worker's loop will be blocked."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, name="celeriac-report", daemon=True)
            self.thread.start()

    def stop(self) -> None:
        """End the thread; the last beat is waited for."""
        self._stop.set()
        if self.thread is not None:
            self.thread.join(2 * SOCKET_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS / 2):
            if self.due():
                self.beat()


def touch(run_dir: str) -> None:
    """Renew the heartbeat that the probes look at."""
    if run_dir:
        path = Path(run_dir) / "heartbeat"
        try:
            os.utime(path)
        except OSError:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


# ---------------------------------------------------------------------------------------------------------------------
# The gate: the one way from a received message to the pool
# ---------------------------------------------------------------------------------------------------------------------


class Gate:
    """Refuses to start anything while a mark is in force, and knows what was started."""

    def __init__(self, agent: Agent, worker: Any) -> None:
        self.agent = agent
        self.worker = worker
        self.process_task = worker._process_task
        self.apply_async = worker.pool.apply_async
        self.uses_semaphore = worker.process_task != worker._process_task

    def install(self) -> None:
        """Put the gate in front of the pool."""
        self.worker._process_task = self.pass_or_hold
        if not self.uses_semaphore:
            self.worker.process_task = self.pass_or_hold
        if self.agent.hooks.have("apply-async"):
            self.worker.pool.apply_async = self.apply_and_watch

    def pass_or_hold(self, request: Any) -> None:
        """Hand a request to the pool, or hold it until the loop gives it back."""
        agent = self.agent
        tag = request.message.delivery_tag
        if agent.is_green():
            agent.drain.at_gate.add(tag)
            try:
                self.await_slot()
            finally:
                agent.drain.at_gate.discard(tag)
            if request not in worker_state.reserved_requests:
                return  # given back meanwhile
        if self._closed():
            agent.drain.held.add(tag)
            if self.uses_semaphore:
                self.worker.hub.call_soon(self.worker._quick_release)
            return
        slot = agent.slots.enter(request)
        try:
            self.process_task(request)
        except BaseException:
            agent.slots.leave(slot)
            raise
        if request not in worker_state.reserved_requests and request not in worker_state.active_requests:
            agent.slots.leave(slot)  # revoked, or run to its end

    def _closed(self) -> bool:
        """Whether nothing may start: a mark, or the worker ends and puts back at its end what it had not started."""
        return bool(self.agent.drain.token) or self.agent.loops_end()

    def await_slot(self) -> None:
        """Wait for a free greenlet here, where a drain or the worker's end can interrupt, not within the pool.

        The loop itself waits here, so that what runs has to be acknowledged from here: early means early.
        """
        pool, consumer = self.worker.pool._pool, self.worker.consumer
        if hasattr(pool, "wait_available"):  # gevent
            while not self._closed() and pool.free_count() <= 0:
                consumer.perform_pending_operations()
                pool.wait_available(timeout=TICK_SECONDS)
        elif hasattr(pool, "sem"):  # eventlet
            while not self._closed() and pool.free() <= 0:
                consumer.perform_pending_operations()
                if pool.sem.acquire(timeout=TICK_SECONDS):
                    pool.sem.release()

    def apply_and_watch(self, target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Like the pool's own, with callbacks that note when a slot is taken and left."""
        accept = options.get("accept_callback")
        slot = self.agent.slots.passed.get(id(getattr(accept, "__self__", None)))
        if slot is None:
            return self._apply_foreign(target, args, kwargs, options)
        options.update(self._callbacks(slot, options))
        slot.result = self.apply_async(target, args, kwargs, **options)
        return slot.result

    def _apply_foreign(self, target: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        foreign, mark = self.agent.slots.foreign, object()

        def at_its_end(callback: Callable[..., Any] | None) -> Callable[..., Any]:
            def ended(*args: Any, **kwargs: Any) -> Any:
                foreign.discard(mark)
                return callback(*args, **kwargs) if callback else None

            return ended

        options.update({name: at_its_end(options.get(name)) for name in ("callback", "error_callback")})
        foreign.add(mark)
        try:
            return self.apply_async(target, args, kwargs, **options)
        except BaseException:
            foreign.discard(mark)
            raise

    def _callbacks(self, slot: Slot, options: Mapping[str, Any]) -> dict[str, Any]:
        agent, prefork = self.agent, self.agent.is_prefork()
        accept, success, failure, timeout = (
            options.get(name) for name in ("accept_callback", "callback", "error_callback", "timeout_callback")
        )

        def on_accept(*args: Any, **kwargs: Any) -> Any:
            agent.slots.accepted(slot, args[0] if args and prefork else None)
            try:
                return accept(*args, **kwargs) if accept else None
            finally:
                agent.mark_started(slot)

        def on_success(*args: Any, **kwargs: Any) -> Any:
            slot.ending, succeeded = True, False
            try:
                result = success(*args, **kwargs) if success else None
                succeeded = bool(args) and isinstance(args[0], tuple) and not args[0][0]
                return result
            finally:
                agent.left(slot, succeeded)

        def on_failure(exc_info: Any, *args: Any, **kwargs: Any) -> Any:
            if is_lost_child(getattr(exc_info, "exception", None)):
                agent.slots.lost.add(slot.tag)
            slot.ending = True
            try:
                return failure(exc_info, *args, **kwargs) if failure else None
            finally:
                agent.left(slot)

        def on_timeout(soft: bool, *args: Any, **kwargs: Any) -> Any:
            slot.ending = slot.ending or not soft
            try:
                return timeout(soft, *args, **kwargs) if timeout else None
            finally:
                if not soft:
                    agent.slots.leave(slot)

        return {
            "accept_callback": on_accept,
            "callback": on_success,
            "error_callback": on_failure,
            "timeout_callback": on_timeout,
        }


def is_lost_child(error: Any) -> bool:
    """Whether a task failed because the child that ran it died."""
    cause = getattr(error, "exc", error)
    return type(cause).__name__ in ("WorkerLostError", "SystemExit", "KeyboardInterrupt")


def hear_of_orphans(pool: Any, slots: Slots) -> None:
    """Learn when children of prefork end what they ran over a reconnect.

    Before Celery 5.6 a reconnect empties the pool's book of jobs, and the ends of those that run are told to nobody.
    """
    from billiard.pool import READY

    handlers = pool._result_handler.state_handlers
    on_ready = handlers[READY]

    def heard(job: int, *args: Any) -> None:
        try:
            on_ready(job, *args)
        finally:
            slots.end_orphan(job)

    handlers[READY] = heard


def hear_of_starts(pool: Any, slots: Slots) -> None:
    """Read what the children of prefork have to say, until each that was handed a task has begun it.

    The parent reads of it in its loop, which the loss of a connection has ended: a task that was handed over just then
    would be put back, and run twice.
    """
    deadline = time.monotonic() + HANDED_SECONDS
    while time.monotonic() < deadline and any(slot.is_handed_over() for slot in list(slots.passed.values())):
        for pipe in wait(list(pool._fileno_to_outq), TICK_SECONDS):
            pool.handle_result_event(pipe)


def acknowledge_at_the_end(consumer: Any) -> None:
    """Send what tasks that ended after the loop have to say, before the channel puts back all that is unacknowledged.

    Celery does so from 5.5 on. Before, a warm shutdown on gevent and eventlet let their last tasks run twice.
    """
    shut_down = consumer.shutdown

    def acknowledge_and_shut_down() -> None:
        consumer.perform_pending_operations()
        shut_down()

    consumer.shutdown = acknowledge_and_shut_down


# ---------------------------------------------------------------------------------------------------------------------
# The agent
# ---------------------------------------------------------------------------------------------------------------------


class Agent:
    """Everything of one worker process, put together."""

    def __init__(self, worker: Any, identity: Identity, hooks: Hooks) -> None:
        self.worker, self.app = worker, worker.app
        self.identity, self.hooks = identity, hooks
        self.options: dict[str, Any] = dict(self.app.conf.broker_transport_options or {})
        self.keys = Keys.of_app(self.options, identity.process)
        self.phase = "starting"
        self.stopping = False
        self.channel: Channel | None = None
        self.store: Store  # from the first connection on
        self.slots, self.drain = Slots(), Drain(self)
        self.report, self.reporter = Report(self), Reporter(self)
        self.marks: StartedMarks | None = None
        self.prefetch: Prefetch | None = None
        self.gate: Gate | None = None
        self.given_back = self.restored = self.dead = self.errors = 0
        self._timer: Any = None
        self._told: set[str] = set()
        self._registered = False
        self._alone = False  # what earlier starts in this pod had left was looked for

    # -- start

    def prepare(self) -> None:
        """Before any connection exists: own keys, bootsteps, prefetch."""
        if os.environ.get("CELERIAC_DISABLE_PREFETCH") == "1" and self.hooks.have(*DRAIN):
            self.prefetch = Prefetch(self)
        self.app.steps["worker"].add(WorkerStep)
        self.app.steps["consumer"].add(ConsumerStep)
        if self.hooks.have(*INFLIGHT):
            self.app.conf.broker_transport_options = {**self.options, **self.keys.transport_options()}

    def connected(self, consumer: Any) -> None:
        """A connection was made and nothing consumed yet: register, take over, restore, and only then consume.

        Errors of the connection go to Celery, which connects again. Its own list of them is not asked: from kombu 5.7
        on a KeyError is among them, and one of the agent's would be repeated for ever.
        """
        first = self.channel is None
        channel = Channel(self, consumer)
        try:
            self.store = Store(client_of(channel.raw), self.identity, self.keys)
            self.marks = StartedMarks(self.store)
            self._register(channel)
            self.report.describe(consumer)
            if first:
                acknowledge_at_the_end(consumer)
                if self.is_prefork() and not self.hooks.have("keep-running"):
                    self._listen_to_children()
            self.channel = channel
            channel.take_over()
            self._restore(channel, first)
            self.phase = "consuming"
            self.reporter.beat()
            self._start_reporting(consumer)
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            raise
        except Exception as error:
            self.failed("start", error)
            if not self._registered:
                self._give_up_own_keys(channel)

    def _listen_to_children(self) -> None:
        try:
            hear_of_orphans(self.worker.pool._pool, self.slots)
        except Exception as error:
            self.hooks.lose("children")
            self.failed("listen to the children", error)

    def _give_up_own_keys(self, channel: Channel) -> None:
        """Nobody would find what an unregistered process holds: leave it to the application's keys and timeout."""
        self.hooks.lose("registry")
        channel.give_up_own_keys(self.options)
        self.app.conf.broker_transport_options = self.options

    def _register(self, channel: Channel) -> None:
        if self.hooks.have(*INFLIGHT) and channel.raw.unacked_key != self.keys.unacked:
            self.hooks.lose("transport-options")  # the application has set its own after the agent
        if not self.hooks.inflight:
            return
        try:
            self.store.register(self.queues())
        except redis.exceptions.ResponseError as error:
            self.failed("register", error)
            if not self._registered:  # else the entry is there, and so are the messages that it tells of
                self._give_up_own_keys(channel)
            return
        self._registered = True

    def _restore(self, channel: Channel, first: bool) -> None:
        """Put back what this process held over a reconnect and does not run, and what earlier starts left behind."""
        if not self.hooks.inflight:
            self.slots.orphan()
            return
        if not first:
            kept = channel.adopt(self.slots)
            self._attempt("restore", lambda: self._count(self.store.restore(self.keys, died=False, skip=kept)))
        if not self._alone:
            self._attempt("look for earlier starts", self._inherit)
            self._alone = True

    def _inherit(self) -> None:
        for process, entry in self.store.predecessors():
            self._attempt("restore an earlier start", self._bury, process, entry)

    def _bury(self, process: str, entry: Mapping[str, Any]) -> None:
        keys = Keys.of_entry(self.keys.prefix, entry)
        self._count(self.store.restore(keys, died=True))
        if self.store.holds_nothing(keys):
            self.store.forget(process, keys.mutex)

    def _attempt(self, what: str, do: Callable[..., None], *args: Any) -> None:
        """Do something that may fail without taking the rest with it, unless it is the connection that fails."""
        try:
            do(*args)
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            raise
        except Exception as error:
            self.failed(what, error)

    def _start_reporting(self, consumer: Any) -> None:
        if self._timer is not None:
            # Timers of green pools return their first greenlet, which is over; its entry is what repeats.
            getattr(self._timer, "entry", self._timer).cancel()
        self._timer = consumer.timer.call_repeatedly(TICK_SECONDS, self.tick)
        if not self.is_prefork() and not self.is_green():
            self.reporter.start_thread()
            if self.prefetch is not None and consumer.hub is not None:
                self.prefetch.listen(consumer.hub)

    # -- while it runs

    def tick(self) -> None:
        """The loop's part, five times a second."""
        try:
            self.drain.held |= self.slots.prune()
            if self.marks is not None:
                self.marks.collect()
            if self.channel is not None and self.phase == "consuming" and self.hooks.drain:
                self.drain.step(self.channel)
                if self.prefetch is not None and self.drain.token is None:
                    self.prefetch.step(self.channel)
        except Exception as error:
            self.failed("tick", error)
        if self.reporter.thread is None and self.reporter.due():
            self.reporter.beat()

    def mark_started(self, slot: Slot) -> None:
        """Tell Redis that a message which is not acknowledged yet has been started."""
        late = slot.request.task.acks_late or self.is_solo()
        if late and self.marks is not None and self.hooks.inflight and self.hooks.have("started-mark"):
            self.marks.mark(slot.tag)

    def left(self, slot: Slot, succeeded: bool = False) -> None:
        """A request has ended, and there may be room for another."""
        self.slots.leave(slot, succeeded)
        if self.prefetch is not None:
            self.prefetch.ring()

    def disconnected(self) -> None:
        """The connection was lost, or the worker is stopping."""
        self.phase = "stopping" if self.stopping else "disconnected"

    def failed(self, what: str, error: BaseException) -> None:
        """Count an error and name its kind once; its text might hold an address or a message."""
        self.errors += 1
        kind = f"{what}: {type(error).__name__}"
        if kind not in self._told and threading.current_thread() is not self.reporter.thread:
            self._told.add(kind)
            logger.warning("Celeriac's agent could not %s (%s)", what, type(error).__name__)

    # -- end

    def stop(self) -> None:
        """The worker was told to stop: its loop may not turn again."""
        self.stopping, self.phase = True, "stopping"
        self.slots.cancel_queued()
        if self.channel is not None and not self.is_green():
            self.reporter.start_thread()

    def leave(self) -> None:
        """The worker has stopped: leave nothing behind, unless messages are."""
        self.reporter.stop()
        if self.channel is None or not self.hooks.inflight:
            return
        if self.store.holds_nothing(self.keys):
            self.store.forget(self.identity.process, self.keys.mutex)

    # -- small questions

    def queues(self) -> list[str]:
        """The queues that this worker consumes from."""
        return [queue.name for queue in self.app.amqp.queues.consume_from.values()]

    def is_registered(self) -> bool:
        """Whether the registry knows this process, and is to know it."""
        return self._registered and not self.stopping

    def is_prefork(self) -> bool:
        """Whether tasks run in children of this process."""
        return self._pool_is("celery.concurrency.prefork")

    def is_green(self) -> bool:
        """Whether tasks run in greenlets of the loop's own thread."""
        return bool(getattr(self.worker.pool, "is_green", False))

    def is_solo(self) -> bool:
        """Whether a task blocks the loop, so that even an early acknowledgement is sent after it."""
        return self._pool_is("celery.concurrency.solo")

    def _pool_is(self, module: str) -> bool:
        return any(base.__module__ == module for base in type(self.worker.pool).__mro__)

    def loops_end(self) -> bool:
        """Whether Celery has been asked to stop, by a signal or remote control."""
        return any(
            flag is not None and flag is not False for flag in (worker_state.should_stop, worker_state.should_terminate)
        )

    def _count(self, moved: Moved) -> None:
        self.restored += moved.queued
        self.dead += moved.dead
        self.errors += moved.unreadable


# ---------------------------------------------------------------------------------------------------------------------
# Celery's side: bootsteps and signals
# ---------------------------------------------------------------------------------------------------------------------

AGENTS: dict[int, Agent] = {}  # by id of the worker: one, unless an application embeds workers


def agent_of(worker: Any) -> Agent | None:
    """The agent of a worker, None if it has none."""
    return AGENTS.get(id(worker))


class WorkerStep(bootsteps.StartStopStep):
    """Stands between the pool and the consumer: installs the gate before any request exists."""

    requires = ("celery.worker.components:Pool",)

    def create(self, worker: Any) -> None:
        """Install the gate."""
        agent = agent_of(worker)
        if agent is not None and agent.hooks.have("process-task"):
            try:
                agent.gate = Gate(agent, worker)
                agent.gate.install()
            except Exception as error:
                agent.hooks.lose("process-task")
                agent.failed("install the gate", error)

    def start(self, worker: Any) -> None:
        """Nothing: the consumer's step starts the rest."""

    def close(self, worker: Any) -> None:
        """The worker begins to stop."""
        agent = agent_of(worker)
        if agent is not None:
            try:
                agent.stop()
            except Exception as error:
                agent.failed("stop", error)

    def stop(self, worker: Any) -> None:
        """Nothing: what ends with the worker ends by its signal."""

    terminate = stop


class ConsumerStep(bootsteps.StartStopStep):
    """Runs for each connection, before anything is consumed."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        """Take over the new connection's channel."""
        agent = agent_of(consumer.controller)
        if agent is not None:
            agent.connected(consumer)

    def stop(self, consumer: Any) -> None:
        """Note that the connection is gone."""
        agent = agent_of(consumer.controller)
        if agent is not None:
            agent.disconnected()


def on_worker_init(sender: Any = None, **_: Any) -> None:
    """Start the agent with the worker itself, not with `current_app`: a module may create several applications."""
    try:
        if getattr(sender._conninfo.transport, "driver_type", "") != "redis":
            return
        without = [name.strip() for name in os.environ.get("CELERIAC_AGENT_WITHOUT", "").split(",")]
        agent = Agent(sender, Identity.from_environment(os.environ, time.time()), Hooks(without))
        AGENTS[id(sender)] = agent
        agent.prepare()
    except Exception as error:
        logger.warning("Celeriac's agent could not start (%s)", type(error).__name__)


def on_worker_shutdown(sender: Any = None, **_: Any) -> None:
    """Take the worker out of the registry."""
    agent = AGENTS.pop(id(sender), None)
    if agent is not None:
        try:
            agent.leave()
        except Exception as error:
            agent.failed("leave", error)


if os.environ.get("CELERIAC_POOL_UID"):
    signals.worker_init.connect(on_worker_init, weak=False)
    signals.worker_shutdown.connect(on_worker_shutdown, weak=False)
