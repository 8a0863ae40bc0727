"""What `kubectl celery doctor` makes of the operators' own answers; pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from celeriac.api.words import first_of
from celeriac.cli.checkup import READ_WITHIN_SECONDS, Looked
from celeriac.cli.findings import SKEW_SECONDS, Finding, off
from celeriac.cli.printing import printable

WORTH_BYTES: Final = 1024 * 1024
WORTH_MESSAGES: Final = 1000
"""Less is told and does no harm: an answer that comes late stays there now and then."""
NAMED: Final = 3

Looks = Mapping[str, Looked]


def of_the_operators(looks: Looks, ahead: timedelta, own_version: str) -> Iterator[Finding]:
    """Who has answered, and how its clock is; `ahead` is this machine's clock before the API server's."""
    told = set()
    for looked in looks.values():
        operator = looked.found.get("operator")
        if operator is None or operator["name"] in told:
            continue
        told.add(operator["name"])
        name, version = printable(operator["name"]), printable(operator["version"])
        yield Finding("ok", f"operator {name}: it has answered a request just now, {version}")
        if version != own_version:
            cure = "use one release of both"
            yield Finding("?", f"operator {name}: this plugin is {own_version}, the operator is {version}: {cure}")
        seconds = (datetime.fromisoformat(operator["time"]) - (looked.at - ahead)).total_seconds()
        if abs(seconds) > SKEW_SECONDS:
            cure = "set the clocks of the nodes (NTP); the operator compares no clocks, people do"
            yield Finding("!", f"clock: the operator {name} is {off(seconds)} the API server: {cure}")


def of_the_lists(first: Looks, again: Looks, left: int, unreadable: Collection[str] = ()) -> Iterator[Finding]:
    """What monitors and workers that died have left in the brokers; `left` brokers were not asked about.

    `unreadable`: pools of which it is told already that their broker cannot be read.
    """
    if not first:
        return
    asked, well = 0, 0
    for pool, looked in first.items():
        if pool in unreadable:
            continue
        if not looked.found or "unread" in looked.found:
            why = looked.failure or looked.found.get("unread", "")
            yield Finding("?", f"unread lists in the broker of pool {pool}: not looked for: {printable(why)}")
            continue
        asked += 1
        orphans = _unread(looked, again.get(pool))
        if _weighs(orphans):
            yield Finding("!", _told(pool, orphans))
        else:
            well += 1
        if not looked.found.get("isWhole", True):
            yield Finding("?", f"unread lists in the broker of pool {pool}: it has too many keys to look at all")
    if left:
        yield Finding("?", f"unread lists: {left} more brokers are not asked about: name a namespace with -n")
    if asked:
        yield Finding("ok", f"unread lists: {well} of {asked} brokers have none of Celery's own that matter")


def _unread(before: Looked, after: Looked | None) -> list[Mapping[str, Any]]:
    """Lists from which nobody has taken a message in between: the one that is taken first is still there."""
    lists = {each["key"]: each for each in before.found.get("lists", ())}
    now: Sequence[Mapping[str, Any]] = after.found.get("lists", ()) if after is not None else ()
    stayed = [each for each in now if (was := lists.get(each["key"])) and was["oldest"] == each["oldest"]]
    return sorted(stayed, key=lambda each: -each["size"])


def _weighs(lists: Sequence[Mapping[str, Any]]) -> bool:
    size, messages = (sum(each[field] for each in lists) for field in ("size", "length"))
    return bool(size >= WORTH_BYTES or messages >= WORTH_MESSAGES)


def _told(pool: str, lists: Sequence[Mapping[str, Any]]) -> str:
    messages, size = (sum(each[field] for each in lists) for field in ("length", "size"))
    names = first_of([f"{printable(each['key'])} ({each['length']})" for each in lists], NAMED)
    return (
        f"unread lists in the broker of pool {pool}: {messages} messages, about {size / 1e6:.1f} MB, in {len(lists)}"
        f" that nobody has read for {READ_WITHIN_SECONDS:.0f} s and that do not expire: {names}. A monitor (flower) or"
        " a worker that died has left them: events, and answers to remote control, no tasks. `redis-cli DEL NAME` frees"
        " one; where one with events fills again, SREM its entry from _kombu.binding.celeryev (or what else the app's"
        " event_exchange is called), too"
    )
