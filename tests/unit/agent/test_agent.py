"""What the agent in the worker decides without a worker: messages, order, addresses, signals, hooks."""

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from agent.celeriac_agent import agent

pytestmark = pytest.mark.unit

SOURCE = Path(agent.__file__)
KEYS = agent.Keys.of_app({"global_keyprefix": "shop:"}, "worker-1.0a1b2c3d")
SHELL = "Name:\tsh\nPPid:\t{parent}\nSigBlk:\t0000000000000000\nSigCgt:\t0000000000010002\n"
TINI = "Name:\ttini\nPPid:\t{parent}\nSigBlk:\tfffffffe7ffbfeff\nSigCgt:\t0000000000000000\n"
PYTHON = "Name:\tpython\nPPid:\t{parent}\nSigBlk:\t0000000000000000\nSigCgt:\t0000000000004002\n"


def message(queue: str | None = "mail", priority: Any = 0, **info: Any) -> dict[str, Any]:
    stamp = {} if queue is None else {"celeriac_queue": queue}
    return {
        "body": "W1tdLCB7fSwge31d",
        "headers": {"id": "1"},
        "properties": {"priority": priority, "delivery_tag": "tag", "delivery_info": {"exchange": "", **stamp, **info}},
    }


def put(sent: dict[str, Any], *, died: bool = False, max_attempts: int = 5) -> agent.Place:
    queue = agent.source_queue(sent, "", "mail", lambda exchange: ())
    return agent.place(sent, queue, KEYS, died=died, max_attempts=max_attempts)


def test_the_file_is_python_3_9() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 9))


def test_the_file_imports_the_standard_library_celery_kombu_and_redis_only() -> None:
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(SOURCE.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported <= {"celery", "kombu", "redis", *__import__("sys").stdlib_module_names}


def test_a_stamped_message_goes_back_to_its_queue_whatever_its_exchange_says() -> None:
    sent = message("mail")
    queue = agent.source_queue(sent, "topics", "mail.urgent", lambda exchange: ("audit", "mail"))
    assert queue == "mail"


def test_an_unstamped_message_belongs_to_its_routing_key_or_to_the_only_queue_of_its_exchange() -> None:
    assert agent.source_queue(message(None), "", "batch", lambda exchange: ()) == "batch"
    assert agent.source_queue(message(None), "direct", "x", lambda exchange: ("batch",)) == "batch"


def test_a_message_that_two_queues_might_claim_is_kept_apart_and_neither_lost_nor_doubled() -> None:
    sent = message(None)
    queue = agent.source_queue(sent, "topics", "x", lambda exchange: ("audit", "mail"))
    place = agent.place(sent, queue, KEYS, died=False, max_attempts=5)
    assert (place.key, place.dead, place.leftmost) == ("celeriac:dead:unroutable", True, True)


def test_a_broadcast_is_dropped() -> None:
    assert put(message("")).key is None


@pytest.mark.parametrize(
    ("priority", "suffix"),
    [(0, ""), (2, ""), (3, "\x06\x163"), (8, "\x06\x166"), (9, "\x06\x169"), (99, "\x06\x169"), (None, ""), ("x", "")],
)
def test_a_message_goes_to_the_list_of_its_priority_rounded_down(priority: Any, suffix: str) -> None:
    assert put(message(priority=priority)).key == f"mail{suffix}"


def test_what_is_given_back_is_the_very_message_that_was_sent() -> None:
    sent = message(priority=3)
    before = json.dumps(sent)
    assert put(sent).payload == before


def test_a_message_started_in_too_many_processes_that_died_becomes_a_dead_letter_that_says_why() -> None:
    sent = message()
    for death in (1, 2):
        place = put(sent, died=True, max_attempts=3)
        assert (place.key, place.dead) == ("mail", False)
        assert json.loads(place.payload)["properties"]["delivery_info"]["celeriac_deaths"] == death
    place = put(sent, died=True, max_attempts=3)
    assert (place.key, place.dead, place.leftmost) == ("celeriac:dead:mail", True, True)
    assert "3 processes" in json.loads(place.payload)["properties"]["delivery_info"]["celeriac_dead"]


def test_a_message_that_merely_waited_in_a_dead_process_is_innocent() -> None:
    place = put(message(celeriac_deaths=4), died=False, max_attempts=5)
    assert (place.key, place.dead) == ("mail", False)


def test_redelivery_is_said_in_both_places_even_where_headers_are_missing() -> None:
    sent = message()
    sent["headers"] = None
    agent.mark_redelivered(sent)
    assert sent["headers"]["redelivered"] is True
    assert sent["properties"]["delivery_info"]["redelivered"] is True


def test_the_oldest_message_is_pushed_last_whether_it_was_started_or_not() -> None:
    scores = {"old": agent.STARTED_SCORE + 100.0, "middle": 200.0, "new": agent.STARTED_SCORE + 300.0}
    assert agent.newest_first(scores, ["old", "new", "middle"]) == ["new", "middle", "old"]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://user:p@ss@cache:6379/1", "redis://cache:6379/1"),
        ("rediss://:secret@cache:6379/0?password=secret", "rediss://cache:6379/0"),
        ("redis+socket:///run/redis.sock?virtual_host=2", "redis+socket:///run/redis.sock"),
        ("sentinel://:secret@a:26379;sentinel://:secret@b:26379", "sentinel://a:26379"),
        ("user:secret@cache", "redis://cache"),
    ],
)
def test_an_address_is_shown_without_credentials(address: str, shown: str) -> None:
    assert agent.without_credentials(address) == shown


@pytest.mark.parametrize(
    ("processes", "arrives"),
    [
        ({1: PYTHON.format(parent=0)}, True),
        ({7: PYTHON.format(parent=1), 1: SHELL.format(parent=0)}, False),
        ({7: PYTHON.format(parent=1), 1: TINI.format(parent=0)}, True),
        ({9: PYTHON.format(parent=7), 7: SHELL.format(parent=1), 1: TINI.format(parent=0)}, False),
        ({7: PYTHON.format(parent=1), 1: "Name:\tsh\n"}, None),
        ({7: PYTHON.format(parent=1)}, None),
    ],
)
def test_a_shell_above_the_worker_keeps_sigterm_from_it(processes: Mapping[int, str], arrives: bool | None) -> None:
    def read(pid: int) -> str:
        if pid not in processes:
            raise FileNotFoundError(pid)
        return processes[pid]

    assert agent.sigterm_arrives(max(processes), read) is arrives


def test_the_keys_of_a_process_follow_the_names_that_the_application_chose() -> None:
    keys = agent.Keys.of_app({"unacked_key": "held", "visibility_timeout": 60, "priority_steps": [5, 0]}, "p.1")
    assert (keys.unacked, keys.index, keys.mutex) == ("held.p.1", "unacked_index.p.1", "unacked_mutex.p.1")
    assert (keys.visibility_timeout, keys.steps, keys.prefix) == (60.0, (0, 5), "")


def test_each_start_in_the_same_pod_is_another_process() -> None:
    environment = {"CELERIAC_POOL_UID": "u", "CELERIAC_POD_NAME": "worker-1", "CELERIAC_POD_UID": "p"}
    first, second = (agent.Identity.from_environment(environment, 1.0) for _ in range(2))
    assert first.process.startswith("worker-1.")
    assert first.process != second.process
    assert first.max_attempts == 5


def test_all_hooks_are_there_in_the_celery_of_this_project() -> None:
    hooks = agent.Hooks()
    assert hooks.missing == []
    assert hooks.capabilities() == ["inflight", "drain", "exact"]


@pytest.mark.parametrize("name", sorted(agent.HOOKS))
def test_a_missing_hook_is_named_and_takes_away_what_stands_on_it(name: str) -> None:
    hooks = agent.Hooks([name])
    assert hooks.missing == [name]
    assert ("inflight" in hooks.capabilities()) == (name not in agent.INFLIGHT)
    assert ("drain" in hooks.capabilities()) == (name not in agent.DRAIN)
    assert ("exact" in hooks.capabilities()) == (name not in agent.EXACT)


def test_own_keys_that_may_not_be_registered_are_no_capability() -> None:
    hooks = agent.Hooks()
    hooks.lose("registry")
    assert hooks.capabilities() == ["exact"]


def test_a_heartbeat_is_made_once_and_renewed_after(tmp_path: Path) -> None:
    agent.touch(str(tmp_path))
    beat = tmp_path / "heartbeat"
    beat.chmod(0o600)
    agent.touch(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat"]
    assert beat.stat().st_mode & 0o777 == 0o600
