"""The registry of worker processes, which each agent writes before its worker consumes, and drain marks.

A registration never expires: it is the only trace of messages that a dead worker holds. It goes when they are moved.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import OutOfMemoryError

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.api.words import quoted
from celeriac.brokers.agents import Process, RegisteredPool, RegistryEntry, RegistryList
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.executor import Executor
from celeriac.brokers.redis.hashes import MOST_ENTRIES, TRIP_BYTES, Hash, answers, hashes
from celeriac.brokers.redis.json_fields import WrongField
from celeriac.brokers.redis.keys import added_key, drain_key, pools_key, processes_key, reports_key, tasks_key
from celeriac.brokers.redis.moves import when
from celeriac.brokers.redis.part_queries import Values
from celeriac.brokers.redis.queries import Ask
from celeriac.brokers.redis.registration import heard_of, pool_key_of, pool_uid_of, process_of
from celeriac.brokers.redis.round_trip import ask
from celeriac.brokers.redis.wire import Command
from celeriac.brokers.redis.worker_reports import LONGEST_REPORT, report_of

T = TypeVar("T")
log = logging.getLogger(__name__)

_PLAIN_NAME: Final = re.compile(rb"[a-z0-9.-]{1,253}")
"""As workers are named; another name of an entry is not repeated, as anybody may write to Redis."""
MOST_POOLS: Final = 2_000
"""Pools of a registry that are read: those that the cluster knows need no list."""


async def listed(executor: Executor, registries: Collection[str], where: str, room: int) -> dict[str, RegistryList]:
    """The pools of each registry, whose name is its key prefix; of all of them no more than `room`, if that matters."""
    keys = [pools_key(prefix) for prefix in registries]
    lists = {}
    async for number, found in hashes(executor, keys, where, room, MOST_POOLS):
        lists[number] = _listed(found, where)
    return {prefix: lists[number] for number, prefix in enumerate(registries)}


async def registered(
    executor: Executor, entries: Collection[RegistryEntry], where: str, room: int
) -> dict[RegistryEntry, RegisteredPool]:
    """The processes of each pool, with what tells each one's last report from the one before.

    Where there are more than `room` in all, small pools are read whole, and of the others a part.
    """
    pools, places, crowded = {}, list(entries), {}
    async for number, found in hashes(executor, [processes_key(*each) for each in places], where, room, MOST_ENTRIES):
        pools[places[number]] = _registered(places[number], found, where)
        await _let_others(found)
    async for number, reports in hashes(executor, [reports_key(*each) for each in places], where, room, MOST_ENTRIES):
        entry = places[number]
        pools[entry] = _with_reports(pools[entry], reports)
        if isinstance(reports, Hash) and reports.size > len(reports.fields):
            crowded[entry] = pools[entry]
        await _let_others(reports)
    for entry, reports in (await _hear(executor, crowded, where)).items():
        pools[entry] = _with_reports(pools[entry], reports)
    return {entry: pools[entry] for entry in places}


async def _let_others(found: Hash | BrokerDoubt) -> None:
    """Thousands of entries take half a second: others have their turn meanwhile. An empty hash takes no time."""
    if not isinstance(found, Hash) or found.fields:
        await asyncio.sleep(0)


def _listed(found: Hash | BrokerDoubt, where: str) -> RegistryList:
    if isinstance(found, BrokerDoubt):
        return RegistryList(doubts=(found,))
    uids, wrong = _each(found, lambda name, _: pool_uid_of(name))
    pools: dict[str, PoolKey | None] = {}
    for name, uid in uids.items():
        try:
            pools[uid] = pool_key_of(found.fields[name])
        except WrongField:
            pools[uid] = None
    return RegistryList(pools, _doubts(found, wrong, where))


def _registered(entry: RegistryEntry, found: Hash | BrokerDoubt, where: str) -> RegisteredPool:
    if isinstance(found, BrokerDoubt):
        return RegisteredPool(doubts=(found,))
    processes, wrong = _each(found, lambda name, text: process_of(*entry, name, text))
    whole = found.size == len(found.fields)
    return RegisteredPool(tuple(processes.values()), doubts=_doubts(found, wrong, where), whole=whole)


def _with_reports(pool: RegisteredPool, reports: Hash | BrokerDoubt) -> RegisteredPool:
    if isinstance(reports, BrokerDoubt):
        return replace(pool, audible=False, doubts=(*pool.doubts, reports))
    heard = heard_of({name.decode(errors="replace"): text for name, text in reports.fields.items()})
    known = tuple(replace(each, reported=heard.of(each)) for each in pool.processes)
    return replace(pool, processes=known, beside=heard.beside(known))


async def _hear(
    executor: Executor, pools: Mapping[RegistryEntry, RegisteredPool], where: str
) -> dict[RegistryEntry, Hash]:
    """The reports of just these processes: somebody has filled the hash with others."""
    found = {}
    for entry, pool in pools.items():
        key, uids = reports_key(*entry), list(dict.fromkeys(each.pod_uid for each in pool.processes))
        query = Values(key, tuple(uids), LONGEST_REPORT, TRIP_BYTES)
        (texts,) = await answers(executor, [key], [query], where)
        if not isinstance(texts, BrokerDoubt):
            said = {uid.encode(): text for uid, text in zip(uids, texts, strict=False) if text is not None}
            found[entry] = Hash(key, said, len(said))
    return found


def _each(found: Hash, read: Callable[[bytes, bytes], T]) -> tuple[dict[bytes, T], dict[bytes, str]]:
    """What the fields say, and of those that cannot be understood why."""
    values, wrong = {}, {}
    for name, text in found.fields.items():
        try:
            values[name] = read(name, text)
        except WrongField as error:
            wrong[name] = str(error)
        except Exception as error:
            log.exception("an entry of %s cannot be read", quoted(found.key))
            wrong[name] = f"a fault of the operator, {type(error).__name__}; see its log"
    return values, wrong


def _doubts(found: Hash, wrong: Mapping[bytes, str], where: str) -> tuple[BrokerDoubt, ...]:
    """One for all entries that cannot be understood, and one for those that were not read."""
    doubts = []
    if wrong:
        name, why = next(iter(wrong.items()))
        first = name.decode() if _PLAIN_NAME.fullmatch(name) else "one whose name is no worker's"
        doubts.append(
            BrokerDoubt(
                Reason.REGISTRATION_UNREADABLE,
                f"{len(wrong)} of {found.size} entries of key {quoted(found.key)} in {where} cannot be understood, the"
                f" first is {first} ({why}): what such a worker holds when it dies"
                " stays there. Restart the pool's workers by a rollout, so that their agent is that of this operator;"
                " remove an entry whose pod is gone with HDEL",
            )
        )
    if found.size > len(found.fields):
        doubts.append(
            BrokerDoubt(
                Reason.REGISTRATION_UNREADABLE,
                f"key {quoted(found.key)} in {where} has {found.size} entries, of which only {len(found.fields)} are"
                " read: something else writes there; end that, and remove its entries with HDEL",
            )
        )
    return tuple(doubts)


def held_keys(process: Process) -> tuple[str, str, str]:
    """The hash, the index and the mutex of what the process holds, prefix included."""
    unacked, index, mutex = (process.layout.key_prefix + key for key in process.held_in)
    return unacked, index, mutex


async def held(executor: Executor, processes: Sequence[Process], where: str) -> list[int | BrokerDoubt]:
    """How many messages each process holds, or why that cannot be read."""
    keys = [held_keys(process)[0] for process in processes]
    return await answers(executor, keys, [Ask(("HLEN", key)) for key in keys], where)


async def forget_process(redis: Redis, process: Process) -> bool:
    """Remove the registration and what belongs to it if the process holds nothing; tell whether that is so.

    The report and the drain mark belong to the pod: they stay where a younger process of it is registered.
    """
    prefix = process.layout.key_prefix
    unacked, index, mutex = held_keys(process)
    processes, reports = processes_key(prefix, process.pool_uid), reports_key(prefix, process.pool_uid)
    names, report = await ask(redis, [("HKEYS", processes), ("HGET", reports, process.pod_uid)])
    said = report_of(process.pod_uid, report) if report is not None else None
    commands: list[Command] = [
        ("DEL", index, mutex, added_key(prefix, process.pool_uid, process.process)),
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
        ("DEL", reports_key(key_prefix, pool_uid), drain_key(key_prefix, pool_uid), tasks_key(key_prefix, pool_uid)),
    )


# KEYS: hash; ARGV: a field that is not there, field, value. It begins with a write that changes nothing: a Redis that
# is full lets a script go on that has written.
_SET_WHEN_FULL: Final = """
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
"""


async def mark(redis: Redis, key_prefix: str, pool_uid: str, marks: Mapping[str, str | None]) -> None:
    """Set the drain marks (pod uid -> token) and remove those of None; in a Redis that is full, too."""
    key = drain_key(key_prefix, pool_uid)
    commands: list[Command] = [
        ("HDEL", key, pod_uid) if token is None else ("HSET", key, pod_uid, token) for pod_uid, token in marks.items()
    ]
    try:
        await ask(redis, commands)
    except OutOfMemoryError:
        await ask(redis, [_when_full(command) for command in commands])


def _when_full(command: Command) -> Command:
    name, key, *rest = command
    return command if name == "HDEL" else ("EVAL", _SET_WHEN_FULL, 1, key, "", *rest)


def _is_sibling(name: str, process: Process) -> bool:
    """Tell whether the name is that of another start in the same pod: <pod>.<8 hex>."""
    return name != process.process and name.rpartition(".")[0] == process.pod
