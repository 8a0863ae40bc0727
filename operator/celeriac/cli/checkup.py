"""What `kubectl celery doctor` asks the operators themselves: who answers, and what lies unread in the brokers.

For each broker one pool of it is asked about, by a request such as whoever types may make: no route to Redis is needed.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self

import click

from celeriac.cli.asking import NoAnswer, Question
from celeriac.cli.pools_api import Pools

MOST_BROKERS: Final = 20
"""So many are asked about: each is a request, and a look through names of keys."""
READ_WITHIN_SECONDS: Final = 5.0
"""A reader takes a message at once; a list from which none was taken for so long has no reader."""

Found = Mapping[str, Any]


class Looked(NamedTuple):
    """The answer about one pool's broker at a moment of this machine's clock; `failure`: why there is none."""

    at: datetime
    found: Found
    failure: str = ""


def one_of_each_broker(pools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One pool for each broker, as far as specs tell: a Secret is one of its namespace."""
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for pool in pools:
        if (pool.get("status") or {}).get("conditions") and "deletionTimestamp" not in pool["metadata"]:
            broker = pool["spec"]["broker"]
            namespace = "" if set(broker) <= {"url", "keyPrefix"} else pool["metadata"]["namespace"]
            chosen.setdefault((namespace, json.dumps(broker, sort_keys=True)), pool)
    return list(chosen.values())


def name_of(pool: dict[str, Any]) -> str:
    """NAMESPACE/NAME."""
    return f"{pool['metadata']['namespace']}/{pool['metadata']['name']}"


def unreadable(pools: Sequence[dict[str, Any]]) -> set[str]:
    """Those of which the status says that their broker cannot be read."""
    return {
        name_of(pool)
        for pool in pools
        for each in (pool.get("status") or {}).get("conditions") or ()
        if each["type"] == "BrokerReachable" and each["status"] == "False"
    }


class Checkup:
    """Asks about each of these pools, and once more where something lies unread; at its end the requests are gone."""

    def __init__(self, pools: Pools, chosen: Sequence[dict[str, Any]]) -> None:
        self._pools = pools
        self._chosen = chosen[:MOST_BROKERS]
        self._questions: dict[str, Question] = {}
        self._stack = ExitStack()
        self._asked_at = 0.0
        self.left = len(chosen) - len(self._chosen)
        """Brokers that are not asked about."""
        self.first: dict[str, Looked] = {}
        """By pool, as NAMESPACE/NAME. After one that nobody answered no other is asked about."""

    def __enter__(self) -> Self:
        for pool in self._chosen:
            name = name_of(pool)
            self._questions[name] = self._stack.enter_context(Question(self._pools, "Health", pool))
            try:
                self.first[name] = self._look(name)
            except NoAnswer as error:
                self.first[name] = Looked(datetime.now(UTC), {}, error.message)
                break
        self._asked_at = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def again(self) -> dict[str, Looked]:
        """The same a little later, of those where there was something that a reader would have taken by then."""
        filled = [name for name, looked in self.first.items() if looked.found.get("lists")]
        if filled:
            time.sleep(max(0.0, self._asked_at + READ_WITHIN_SECONDS - time.monotonic()))
        return {name: self._look(name) for name in filled}

    def _look(self, name: str) -> Looked:
        """Ask once. Raises NoAnswer."""
        try:
            found = self._questions[name].answer()["result"]
        except NoAnswer:
            raise
        except click.ClickException as error:
            return Looked(datetime.now(UTC), {}, error.message)
        return Looked(datetime.now(UTC), found)
