"""The registry of worker processes, which each agent writes before its worker consumes, and drain marks.

A registration never expires: it is the only trace of messages that a dead worker holds. It goes when they are moved.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from celeriac.brokers.agents import Process
from celeriac.brokers.redis.json_fields import JsonFields, WrongField
from celeriac.brokers.redis.keys import drain_key, pools_key, processes_key, reports_key
from celeriac.brokers.redis.moves import ask, when
from celeriac.brokers.redis.queries import Command
from celeriac.brokers.redis.worker_reports import report_of
from celeriac.pool.model import QueueLayout


def process_of(key_prefix: str, pool_uid: str, name: bytes, text: bytes) -> Process | None:
    """Read one registration; None for one that is malformed, or names keys that are no process's own.

    Whatever stands under these keys is moved away and deleted: they have to end with the name of the process.
    """
    try:
        fields = JsonFields(text)
        process = Process(
            process=name.decode(),
            pod=fields.text("pod"),
            pod_uid=fields.text("podUid"),
            namespace=fields.text("namespace"),
            pool=fields.text("pool"),
            pool_uid=fields.text("poolUid"),
            started=fields.number("started"),
            held_in=(fields.text("unacked"), fields.text("index"), fields.text("mutex")),
            layout=QueueLayout(key_prefix, fields.text("separator"), fields.counts("prioritySteps")),
            queues=fields.texts("queues"),
            visibility_timeout=fields.number_or_infinity("visibilityTimeout"),
            max_attempts=fields.count("maxAttempts"),
        )
    except (WrongField, UnicodeDecodeError):
        return None
    keys = set(process.held_in)
    of_its_own = len(keys) == len(process.held_in) and all(key.endswith(f".{process.process}") for key in keys)
    return process if of_its_own and process.pool_uid == pool_uid else None


async def registered(redis: Redis, key_prefixes: Collection[str]) -> list[Process]:
    """All registrations that can be understood, with the counter of each one's last report; in two round trips."""
    prefixes = tuple(dict.fromkeys(key_prefixes))
    pools: list[Mapping[bytes, bytes]] = await ask(redis, [("HGETALL", pools_key(prefix)) for prefix in prefixes])
    places = [
        (prefix, uid.decode(errors="replace")) for prefix, uids in zip(prefixes, pools, strict=True) for uid in uids
    ]
    entries = await ask(redis, [("HGETALL", key(*place)) for place in places for key in (processes_key, reports_key)])
    found = []
    for place, some, reports in zip(places, entries[::2], entries[1::2], strict=True):
        said = [report_of(pod_uid, text) for pod_uid, text in reports.items()]
        counters = {report.process: report.counter for report in said if report is not None}
        processes = [process_of(*place, name, text) for name, text in some.items()]
        found += [replace(each, reported=counters.get(each.process)) for each in processes if each is not None]
    return found


def held_keys(process: Process) -> tuple[str, str, str]:
    """The hash, the index and the mutex of what the process holds, prefix included."""
    unacked, index, mutex = (process.layout.key_prefix + key for key in process.held_in)
    return unacked, index, mutex


async def held(redis: Redis, processes: Sequence[Process]) -> list[int]:
    """How many messages each process holds."""
    return await ask(redis, [("HLEN", held_keys(process)[0]) for process in processes])


async def forget_process(redis: Redis, process: Process) -> bool:
    """Remove the registration and what belongs to it if the process holds nothing; tell whether that is so.

    The report and the drain mark belong to the pod: they stay where a younger process of it is registered.
    """
    prefix = process.layout.key_prefix
    unacked, index, mutex = held_keys(process)
    processes, reports = processes_key(prefix, process.pool_uid), reports_key(prefix, process.pool_uid)
    names, report = await ask(redis, [("HKEYS", processes), ("HGET", reports, process.pod_uid)])
    said = report_of(process.pod_uid.encode(), report) if report is not None else None
    commands: list[Command] = [
        ("DEL", index, mutex),
        ("HDEL", processes, process.process),
    ]
    if said is None or said.process == process.process:
        commands.append(("HDEL", reports, process.pod_uid))
        if not any(_is_sibling(name.decode(errors="replace"), process) for name in names):
            commands.append(("HDEL", drain_key(prefix, process.pool_uid), process.pod_uid))

    async def holds_nothing(pipe: Pipeline) -> bool:
        return not await pipe.execute_command("HLEN", unacked)

    return await when(redis, unacked, holds_nothing, *commands)


async def forget_pool(redis: Redis, key_prefix: str, pool_uid: str) -> None:
    """Remove the pool's own keys unless a process is registered."""
    processes = processes_key(key_prefix, pool_uid)

    async def nobody_is_left(pipe: Pipeline) -> bool:
        return not await pipe.execute_command("HLEN", processes)

    await when(
        redis,
        processes,
        nobody_is_left,
        ("HDEL", pools_key(key_prefix), pool_uid),
        ("DEL", reports_key(key_prefix, pool_uid), drain_key(key_prefix, pool_uid)),
    )


async def mark(redis: Redis, key_prefix: str, pool_uid: str, marks: Mapping[str, str | None]) -> None:
    """Set the drain marks (pod uid -> token) and remove those of None."""
    key = drain_key(key_prefix, pool_uid)
    await ask(
        redis,
        [
            ("HDEL", key, pod_uid) if token is None else ("HSET", key, pod_uid, token)
            for pod_uid, token in marks.items()
        ],
    )


def _is_sibling(name: str, process: Process) -> bool:
    """Tell whether the name is that of another start in the same pod: <pod>.<8 hex>."""
    return name != process.process and name.rpartition(".")[0] == process.pod
