"""What the agent and the operator tell each other in Redis: who is registered, reports, drain marks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from .access import refused
from .counters import Telling
from .full_redis import is_full, set_field
from .identity import Identity
from .inflight import InFlight, text
from .messages import UNROUTABLE, dead_list
from .proc import is_alive, start_ticks
from .settings import TransportSettings
from .tally import WRITE, Batch

STOP = "stop-"  # a drain mark that begins so tells the worker to stop, too: SIGTERM has not reached it
STOP_ONE = f"{STOP}of-"  # so does one that goes on with the name of this process: its container is to be started anew


class NotAllowed(Telling):
    """Redis refuses what the agent needs."""


class Beat(NamedTuple):
    """What one round trip brought back.

    `found` says whether the process is registered: Redis may evict the registry, and anybody delete it. `refusal` is
    what Redis says instead of writing the report; a full one has it nevertheless. `counted` is what it says to the
    counts of tasks.
    """

    mark: str | None
    held: int
    found: bool
    refusal: Exception | None
    counted: Any = None


class Registry:
    """The pool's keys, as one process of it writes and reads them. All methods raise redis-py's errors."""

    client: Any = None  # of the latest connection

    def __init__(self, identity: Identity, settings: TransportSettings) -> None:
        self.identity, self.settings = identity, settings
        self.registered = False
        self.refused: list[str] = []  # what an ACL would have to allow

    def _key(self, name: str) -> str:
        return f"{self.settings.keys.prefix}celeriac:{name}"

    @property
    def _pools(self) -> str:
        return self._key("pools")

    @property
    def _processes(self) -> str:
        return self._key(f"{self.identity.pool_uid}:processes")

    @property
    def _reports(self) -> str:
        return self._key(f"{self.identity.pool_uid}:reports")

    @property
    def _marks(self) -> str:
        return self._key(f"{self.identity.pool_uid}:drain")

    def _tasks(self, process: str) -> tuple[str, str]:
        """The counts of the pool's tasks, and the number of the last batch that a process has added to them."""
        return self._key(f"{self.identity.pool_uid}:tasks"), self._key(f"{self.identity.pool_uid}:added:{process}")

    @property
    def own(self) -> InFlight:
        """What this process holds."""
        return InFlight(self.client, self.settings.keys, self.identity.max_attempts)

    def entry(self, queues: list[str]) -> dict[str, Any]:
        """What is said of this process; a timeout of None never ends."""
        who, keys = self.identity, self.settings.keys
        return {
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
            "visibilityTimeout": self.settings.visibility_timeout,
            "maxAttempts": who.max_attempts,
            "pid": os.getpid(),
            "ticks": start_ticks(os.getpid()),
        }

    def register(self, queues: list[str]) -> None:
        """Make this process known, so that what it will hold can be found; NotAllowed where an ACL is in the way."""
        who = self.identity
        if not self.registered:  # from then on the keys are in use
            self.refused = refused(self.client, self.settings.keys, self._patterns())
        if self.refused:
            raise NotAllowed(f"an ACL of Redis refuses {' '.join(self.refused)}")
        pool = json.dumps({"namespace": who.namespace, "name": who.pool})
        set_field(self.client, self._pools, who.pool_uid, pool)
        set_field(self.client, self._processes, who.process, json.dumps(self.entry(queues), allow_nan=False))
        self.registered = True

    def _patterns(self) -> dict[str, str]:
        """The keys that the agent needs, each with the pattern by which a rule would allow it."""
        keys = self.settings.keys
        own = [keys.prefix + key for key in (keys.unacked, keys.index, keys.mutex)]
        shared = [self._pools, self._processes, self._reports, self._marks, keys.prefix + dead_list(UNROUTABLE)]
        return {
            **{key: key.replace(self.identity.process, "*") for key in own},
            **dict.fromkeys(shared, f"{keys.prefix}celeriac:*"),
        }

    def beat(self, report: str, counts: Batch | None = None) -> Beat:
        """Write counts and a report, read the pod's drain mark and the number of messages held: one round trip.

        Of a process that never was registered, nothing is asked that an ACL may refuse.
        """
        who, keys = self.identity, self.settings.keys
        with self.client.pipeline(transaction=False) as pipe:
            if counts is not None:  # before the report, which tells of it
                pipe.eval(WRITE, 2, *self._tasks(who.process), *counts.arguments())
            pipe.hset(self._reports, who.pod_uid, report)
            pipe.hget(self._marks, who.pod_uid)
            if self.registered:
                pipe.hlen(keys.prefix + keys.unacked)
                pipe.hexists(self._pools, who.pool_uid)
                pipe.hexists(self._processes, who.process)
            answers = pipe.execute(raise_on_error=False)
        counted = None if counts is None else answers.pop(0)
        written, *read = answers
        for answer in read:
            if isinstance(answer, Exception):
                raise answer
        refusal = written if isinstance(written, Exception) else None
        if refusal is not None and is_full(refusal):
            set_field(self.client, self._reports, who.pod_uid, report)
        mark, *more = read
        held, *found = more or [0]
        return Beat(text(mark) if mark else None, int(held), all(found), refusal, counted)

    def add(self, counts: Batch) -> None:
        """Write counts alone, the last ones of this process."""
        self.client.eval(WRITE, 2, *self._tasks(self.identity.process), *counts.arguments())

    def dial_anew(self) -> None:
        """Connect anew with the next command: the server is no master any more, and by its name another may be it."""
        self.client.connection_pool.disconnect(inuse_connections=False)

    def predecessors(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The registered processes of earlier starts in this pod; one that still runs is another worker beside this."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for name, raw in self.client.hgetall(self._processes).items():
            entry = _object(raw)
            ours = entry.get("podUid") == self.identity.pod_uid and text(name) != self.identity.process
            if ours and not is_alive(entry.get("pid"), entry.get("ticks")):
                found.append((text(name), entry))
        return found

    def leave(self) -> None:
        """Take this process out of the registry, unless it holds messages that somebody has to find."""
        if self.own.is_empty():
            self.forget(self.identity.process, self.settings.keys.mutex)
            self.registered = False

    def forget(self, process: str, mutex: str) -> None:
        """Take a process that holds nothing any more out of the registry, and its report if it is the last one."""
        raw = self.client.hget(self._reports, self.identity.pod_uid)
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hdel(self._processes, process)
            pipe.delete(self.settings.keys.prefix + mutex, self._tasks(process)[1])
            if raw is not None and _object(raw).get("process") == process:
                pipe.hdel(self._reports, self.identity.pod_uid)
            pipe.execute()


def _object(text: str | bytes) -> dict[str, Any]:
    """Read a JSON object; what is none is empty: anybody may write to Redis."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
