"""What workers have left in a Redis whose entry in the registry is gone: found by looking through all keys.

A server that drops keys may have dropped the entry, or somebody deleted it. A living agent writes it anew with its next
report; of one that died in between only the keys themselves are left. Looking through a database of a million results
takes seconds: a person may ask for that, the operator's loop does not.
"""

import time
from collections.abc import Collection, Mapping
from typing import Any, Final

from redis.asyncio import Redis

from celeriac.brokers.agents import Process, Traces
from celeriac.brokers.redis.json_fields import WrongField
from celeriac.brokers.redis.keys import processes_key, reports_key
from celeriac.brokers.redis.registration import pool_uid_of
from celeriac.brokers.redis.round_trip import ask
from celeriac.brokers.redis.worker_reports import report_of
from celeriac.pool.model import QueueLayout

LOOK_SECONDS: Final = 60.0
"""For one kind of key; what is not found by then is missing, and told to be."""
MOST: Final = 10_000
"""Keys of one kind that are taken."""
PAGE: Final = 1000

UNKNOWN: Final = "unknown"
"""In place of the namespace, the pool and the uid of a worker that nobody has registered."""

Heard = Mapping[str, tuple[str, str, int]]
"""By process, what its report tells: the uids of its pool and its pod, and its counter."""


async def traces(redis: Redis, layout: QueueLayout) -> Traces:
    """Pools by the keys of their registry and reports; processes by their hashes, if these have kombu's own name."""
    prefix, found, whole = layout.key_prefix, [], True
    for pattern in (processes_key(prefix, "*"), reports_key(prefix, "*"), f"{prefix}unacked.*"):
        before, after = pattern.removeprefix(prefix).split("*")
        names, is_all = await names_between(redis, prefix + before, after, seconds=LOOK_SECONDS, most=MOST)
        found.append(names)
        whole &= is_all
    registered, reporting, hashes = found
    uids = sorted(uid for name in registered | reporting if (uid := _uid(name)) is not None)
    heard = await _heard(redis, prefix, uids)
    processes = (_process(name, layout, heard) for name in sorted(hashes))
    return Traces(frozenset(uids), tuple(each for each in processes if each is not None), whole)


async def names_between(redis: Redis, before: str, after: str, *, seconds: float, most: int) -> tuple[set[str], bool]:
    """What stands between two parts of the names of keys, and whether all keys were looked through."""
    names: set[str] = set()
    until, cursor = time.monotonic() + seconds, 0
    while time.monotonic() < until and len(names) < most:
        page: Any = await redis.scan(cursor, match=f"{escaped(before)}*{escaped(after)}", count=PAGE)
        cursor, keys = page
        texts = [key.decode(errors="replace") for key in keys]
        names |= {text.removeprefix(before).removesuffix(after) for text in texts}
        if not cursor:
            return names, True
    return names, False


def _uid(name: str) -> str | None:
    try:
        return pool_uid_of(name.encode())
    except WrongField:
        return None


async def _heard(redis: Redis, prefix: str, uids: Collection[str]) -> Heard:
    """What the reports of these pools tell of who lives; a key that is none says nothing."""
    hashes = [await ask(redis, [("HGETALL", reports_key(prefix, uid))]) for uid in uids]
    heard = {}
    for uid, (entries,) in zip(uids, hashes, strict=True):
        for pod_uid, text in entries.items():
            if (report := report_of(pod_uid.decode(errors="replace"), text)) is not None:
                heard[report.process] = (uid, report.pod_uid, report.counter)
    return heard


def _process(name: str, layout: QueueLayout, heard: Heard) -> Process | None:
    """The process whose hash this is, as far as its name tells; None where it is no name of a process."""
    pool_uid, pod_uid, counter = heard.get(name, (UNKNOWN, UNKNOWN, None))
    try:
        return Process(
            process=name,
            pod=name.rpartition(".")[0],
            pod_uid=pod_uid,
            namespace=UNKNOWN,
            pool=UNKNOWN,
            pool_uid=pool_uid,
            started=0.0,
            held_in=(f"unacked.{name}", f"unacked_index.{name}", f"unacked_mutex.{name}"),
            layout=layout,
            visibility_timeout=0.0,
            max_attempts=0,
            reported=counter,
        )
    except ValueError:
        return None


def escaped(text: str) -> str:
    """The text as a pattern of SCAN that means itself."""
    return "".join(f"\\{char}" if char in "*?[]\\^" else char for char in text)
