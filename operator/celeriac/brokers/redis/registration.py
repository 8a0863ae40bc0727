"""What stands in a registry, from Redis' bytes to values. Anybody may write there: what an agent did not write is told.

Pure; `celeriac.brokers.redis.registry` does the reading.
"""

import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.api.names import is_dns_label, is_dns_name
from celeriac.brokers.agents import Process
from celeriac.brokers.redis.json_fields import JsonFields, WrongField
from celeriac.brokers.redis.worker_reports import report_of
from celeriac.pool.model import QueueLayout

_UID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,252}")
_NO_POOL: Final = "dead"
"""As the uid of a pool it would name the dead letters of queues: see keys.dead_key."""


def pool_uid_of(name: bytes) -> str:
    """The uid of a pool. Raises WrongField for what is none: it becomes part of keys that are read and deleted."""
    uid = name.decode(errors="replace")
    if _UID.fullmatch(uid) is None or uid == _NO_POOL:
        raise WrongField("its name is no uid")
    return uid


def pool_key_of(text: bytes) -> PoolKey:
    """The name of a pool. Raises WrongField for what is none."""
    fields = JsonFields(text)
    key = PoolKey(fields.text("namespace"), fields.text("name"))
    if not is_dns_label(key.namespace) or not is_dns_name(key.name):
        raise WrongField("it names no pool")
    return key


def process_of(key_prefix: str, pool_uid: str, name: bytes, text: bytes) -> Process:
    """Read one registration. Raises WrongField for one that is malformed, or names keys that are no process's own.

    Whatever stands under these keys is moved away and deleted: they have to end with the name of the process.
    """
    fields = JsonFields(text)
    try:
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
            visibility_timeout=fields.number_or_infinity("visibilityTimeout"),
            max_attempts=fields.count("maxAttempts"),
        )
    except WrongField:
        raise
    except ValueError as error:  # the name of the process is no UTF-8, or Process says which name is none
        raise WrongField("its name is no text" if isinstance(error, UnicodeError) else str(error)) from error
    _require_sense(process, pool_uid)
    return process


def _require_sense(process: Process, pool_uid: str) -> None:
    keys = set(process.held_in)
    if len(keys) != len(process.held_in) or not all(key.endswith(f".{process.process}") for key in keys):
        raise WrongField("it names keys that are not its own")
    if process.pool_uid != pool_uid:
        raise WrongField("it names another pool")
    if not process.layout.separator:
        raise WrongField("field separator is empty")
    if _UID.fullmatch(process.pod_uid) is None:
        raise WrongField("field podUid is no uid")


def heard_of(reports: Mapping[str, bytes]) -> "Heard":
    """What the reports of a pool tell of who lives."""
    counters, strange = {}, {}
    for pod_uid, text in reports.items():
        report = report_of(pod_uid, text)
        if report is not None:
            counters[report.process] = report.counter
        else:
            strange[pod_uid] = zlib.crc32(text)
    return Heard(counters, strange)


class Heard:
    """By process the counter of its last report; by pod uid a digest of one that cannot be understood.

    The latter may be of any process of its pod: as long as it changes, one of them lives.
    """

    def __init__(self, counters: Mapping[str, int], strange: Mapping[str, int]) -> None:
        self._counters = counters
        self._strange = strange

    def beside(self, processes: Iterable[Process]) -> dict[str, int]:
        """See RegisteredPool.beside."""
        registered = {each.process for each in processes}
        return {name: n for name, n in self._counters.items() if name not in registered} | dict(self._strange)

    def of(self, process: Process) -> int | None:
        """See Process.reported."""
        counter = self._counters.get(process.process)
        return self._strange.get(process.pod_uid) if counter is None else counter
