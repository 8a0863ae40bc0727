"""The hash in which the agents of a pool count its tasks, read as one text; see celeriac_agent/tally.py.

Anybody may write there: what is no number of a known kind is passed over, and no more is read than agents write.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from celeriac.api.reasons import Reason
from celeriac.api.words import quoted
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.calls import calling
from celeriac.brokers.redis.client import RedisClient
from celeriac.brokers.redis.errors import counts_doubt
from celeriac.brokers.redis.executor import Executor
from celeriac.brokers.redis.keys import tasks_key
from celeriac.brokers.redis.queries import Query, Script
from celeriac.brokers.redis.shapes import is_count, is_pair, is_text
from celeriac.brokers.redis.wire import Command
from celeriac.brokers.task_counts import BUCKETS, NOTHING, RAN, STATES, WAITED, Row, Rows, plus

MOST_FIELDS: Final = 8_000
"""200 names have 36 each at most."""
LONGEST: Final = 1_024
"""Bytes of a field with its name: a task's name has 200."""
MOST_BYTES: Final = 1792 * 1024
"""Of one pool: 200 names of 200 bytes have less. Usual ones have some 10 KiB."""
AT_ONCE: Final = 8
"""Pools that are read in one round trip: 14 MiB, see budget.py."""
BETWEEN: Final = b"\0"

_NUMBER: Final = re.compile(rb"[0-9]{1,15}")
_PLACES: Final = {
    **{state.encode(): place for place, state in enumerate(STATES)},
    **{f"ran{bucket}".encode(): RAN + bucket for bucket in range(BUCKETS)},
    b"ran": RAN + BUCKETS,
    **{f"waited{bucket}".encode(): WAITED + bucket for bucket in range(BUCKETS)},
    b"waited": WAITED + BUCKETS,
}
"""Where in a row each kind of field stands."""

TEXT: Final = Script("""
local most, longest, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found, passed, seen, cursor = {}, 0, 4 * bytes + 65536, '0'
repeat
  local page = redis.pcall('HSCAN', KEYS[1], cursor, 'COUNT', 1000)
  if page.err then return page end
  cursor = page[1]
  for i = 1, #page[2], 2 do
    local name, value = page[2][i], page[2][i + 1]
    local size = #name + #value + 2
    seen = seen - size
    if string.sub(name, 1, 6) == 'known|' then
      size = 0
    elseif size > longest or size > bytes or most == 0 then
      passed = passed + 1
    else
      most, bytes = most - 1, bytes - size
      found[#found + 1] = value .. ' ' .. name
    end
  end
until cursor == '0' or most == 0 or seen < 0
if cursor ~= '0' then passed = passed + 1 end
return {passed, table.concat(found, '\\0')}
""")


@dataclass(frozen=True)
class TaskText(Query):
    """All fields of one hash, within the bounds of this module.

    Gives [how many were passed by, so far as it looked; a text with each field as its value, a blank and its name].
    """

    key: str
    script: Script = TEXT

    def arguments(self) -> Command:
        """Key and bounds."""
        return (1, self.key, MOST_FIELDS, LONGEST, MOST_BYTES)

    def plain(self) -> Sequence[Command]:
        """One page: with plain commands nobody can say how long the whole is."""
        return [("HSCAN", self.key, 0, "COUNT", MOST_FIELDS)]

    def join(self, replies: Sequence[Any]) -> Any:
        """The error, or the text."""
        (reply,) = replies
        if isinstance(reply, Exception):
            return reply
        cursor, fields = reply
        return [int(cursor != 0), BETWEEN.join(b"%b %b" % (value, name) for name, value in fields.items())]

    def fits(self, reply: Any) -> bool:
        """A count and a text."""
        return is_pair(reply, is_count, is_text)


class RedisTaskCounts:
    """See TaskCounts."""

    def __init__(self, client: RedisClient, where: str) -> None:
        self._client, self._where = client, where
        self._executor = Executor(client.redis, time.monotonic)

    async def read(self, pools: Sequence[tuple[str, str]]) -> Sequence[Rows | BrokerDoubt]:
        """See TaskCounts.read."""
        answers: list[Rows | BrokerDoubt] = []
        for first in range(0, len(pools), AT_ONCE):
            keys = [tasks_key(*pool) for pool in pools[first : first + AT_ONCE]]
            texts = await calling(self._executor.run([TaskText(key) for key in keys]), self._client)
            answers += [self._read(key, text) for key, text in zip(keys, texts, strict=True)]
        return answers

    def _read(self, key: str, answer: Any) -> Rows | BrokerDoubt:
        if isinstance(answer, Exception):
            return counts_doubt(answer, key, self._where)
        passed, text = answer
        if passed:
            return BrokerDoubt(
                Reason.ANSWER_TOO_LARGE,
                f"key {quoted(key)} in {self._where} has more in it than agents write: something else uses this name;"
                " end that, and remove the key, which begins anew",
            )
        return rows_of(text)


def rows_of(text: bytes) -> Rows:
    """What a text says; of names and kinds that are none, nothing."""
    rows: dict[bytes, list[int]] = {}
    for field in text.split(BETWEEN):
        number, _, rest = field.partition(b" ")
        kind, bar, name = rest.partition(b"|")
        place = _PLACES.get(kind)
        if place is not None and bar and _NUMBER.fullmatch(number):
            row = rows.get(name)
            if row is None:
                row = rows[name] = list(NOTHING)
            row[place] = int(number)
    return _named(rows)


def _named(rows: dict[bytes, list[int]]) -> dict[str, Row]:
    """By names that are text; what is the same as text is added up."""
    named: dict[str, Row] = {}
    for name, row in rows.items():
        text = name.decode(errors="replace")
        before = named.get(text)
        named[text] = tuple(row) if before is None else plus(before, tuple(row))
    return named
