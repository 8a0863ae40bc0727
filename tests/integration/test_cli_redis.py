"""`celeriac evacuate` and `celeriac dead-letters` on a real Redis, as a person types them."""

# mypy: disable-error-code="import-untyped, no-untyped-call"

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from celeriac.cli.main import main
from tests.cluster.ports import HOST
from tests.integration.brokers import producer
from tests.integration.gone_worker import GoneWorker
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

WATCH = ("--watch", "1.5")


@pytest.fixture(scope="module")
def one_server() -> Iterator[RedisServer]:
    with RedisServer(password="s3cr3t") as running:
        yield running


def run(server: RedisServer, *words: str, variable: str = "CELERY_BROKER_URL") -> Result:
    result = CliRunner().invoke(main, words, env={"CELERY_BROKER_URL": None, variable: server.celery_url})
    assert "s3cr3t" not in result.output
    return result


def send(server: RedisServer, *ids: str) -> None:
    app = producer(server)
    for each in ids:
        app.send_task("train", args=["secret argument"], queue="mail", task_id=each)


def waiting(server: RedisServer, key: str = "mail") -> list[str]:
    """Ids in a list, the one that is consumed next first."""
    with server.client() as client:
        return [json.loads(text)["headers"]["id"] for text in reversed(client.lrange(key, 0, -1))]


@contextmanager
def reporting(worker: GoneWorker) -> Iterator[None]:
    """It lives: its agent reports."""
    over = threading.Event()

    def report() -> None:
        counter = 1
        while not over.wait(0.2):
            worker.report(counter := counter + 1)

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_what_the_gone_hold_is_given_back_and_the_living_are_left_alone(server: RedisServer) -> None:
    send(server, "1", "2", "3")
    gone, alive = GoneWorker(server, "ml-gone"), GoneWorker(server, "ml-alive")
    gone.take("mail", 2)
    alive.take("mail")
    with reporting(alive):
        listed = run(server, "evacuate", *WATCH)
        assert listed.exit_code == 0, listed.output
        (of_gone,) = [line for line in listed.output.splitlines() if gone.process in line and "shop/ml" in line]
        assert of_gone.split()[3:] == ["2", "more", "than", "1.5", "s", "ago"]
        assert "1 silent worker(s) hold 2 message(s)" in listed.output
        assert waiting(server) == [], "looking changes nothing"
        done = run(server, "evacuate", "--yes", *WATCH)
        assert done.exit_code == 0, done.output
        assert f"{alive.process}: refused, it lives" in done.output
        assert "1 worker(s): 2 message(s) given back" in done.output
        assert waiting(server) == ["1", "2"]
        twice = run(server, "evacuate", "--yes", "--even-living", *WATCH)
        assert "RUN TWICE" in run(server, "evacuate", "--help").output
    assert twice.exit_code == 0, twice.output
    assert sorted(waiting(server)) == ["1", "2", "3"]


def test_a_worker_that_starts_meanwhile_is_not_taken_for_a_silent_one(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It registers before it reports: forgotten now, nobody would ever find what it is going to hold."""
    gone = GoneWorker(server, "ml-gone")

    async def starts_between_the_looks(_: float) -> None:
        worker = GoneWorker(server, "ml-new")
        with server.client() as client:
            client.hdel(worker.key("reports"), worker.pod_uid)

    monkeypatch.setattr("celeriac.cli.evacuate.asyncio", SimpleNamespace(sleep=starts_between_the_looks))
    done = run(server, "evacuate", "--yes", *WATCH)
    assert done.exit_code == 0, done.output
    with server.client() as client:
        assert [name.rpartition(".")[0] for name in client.hkeys(gone.key("processes"))] == ["ml-new"]


def test_after_the_last_worker_nothing_is_left_in_redis(server: RedisServer) -> None:
    send(server, "1")
    GoneWorker(server).take("mail")
    result = run(server, "evacuate", "--yes", *WATCH, "--broker-url-env", "OTHER", variable="OTHER")
    assert result.exit_code == 0, result.output
    with server.client() as client:
        assert [key for key in client.scan_iter() if not key.startswith("_kombu")] == ["mail"]
    assert "no worker with the agent is registered" in run(server, "evacuate").output


def test_what_cannot_be_read_or_moved_is_said_and_keeps_nobody_elses_away(server: RedisServer) -> None:
    send(server, "1", "2")
    good = GoneWorker(server, "ml-good", pool_uid="good")
    good.take("mail")
    stuck, deaf, spoilt = (GoneWorker(server, f"ml-{name}", pool_uid=name) for name in ("stuck", "deaf", "spoilt"))
    deaf.take("mail")
    with server.client() as client:
        client.set(stuck.unacked, "something else")
        client.delete(deaf.key("reports"))
        client.set(deaf.key("reports"), "something else")
        client.hset(spoilt.key("processes"), spoilt.process, "no JSON\x1b[2J")
    done = run(server, "evacuate", "--yes", *WATCH)
    assert done.exit_code == 1
    assert waiting(server) == ["1"]
    (of_stuck,) = [
        line for line in done.output.splitlines() if stuck.process in line and "shop/ml" in line and "?" in line
    ]
    assert "?" in of_stuck.split()
    assert f"{deaf.process}: refused, its reports cannot be read, so that it may live" in done.output
    assert "1 of 1 entries of key 'celeriac:spoilt:processes'" in done.output
    assert "\x1b" not in done.output
    assert "run it again" in done.output


def test_a_worker_whose_entry_is_gone_is_found_by_its_keys_and_a_living_one_is_left_alone(server: RedisServer) -> None:
    """Evicted are the entry, the list of pools, and the index of what is held; a stranger has a key of such a name."""
    send(server, "1", "2", "3")
    gone, alive = GoneWorker(server, "ml-gone"), GoneWorker(server, "ml.2-alive")
    gone.take("mail", 2)
    alive.take("mail")
    with server.client() as client:
        client.delete("celeriac:pools", gone.key("processes"), gone.index)
        client.hdel(gone.key("reports"), gone.pod_uid)
        client.set("unacked.of-somebody-else", "no hash, and no process")
    with reporting(alive):
        done = run(server, "evacuate", "--yes", *WATCH)
    assert done.exit_code == 0, done.output
    assert f"{alive.process}: refused, it lives" in done.output
    assert "1 worker(s): 2 message(s) given back" in done.output
    assert sorted(waiting(server)) == ["1", "2"]
    with server.client() as client:
        assert client.hlen(alive.unacked) == 1
        assert not client.exists(gone.unacked)


def test_the_layout_of_a_worker_that_nobody_knows_can_be_said(server: RedisServer) -> None:
    producer(server).send_task("train", queue="mail", task_id="1", priority=0)
    worker = GoneWorker(server, separator=":", steps=(0, 5))
    worker.take("mail")
    with server.client() as client:
        (tag,) = client.hkeys(worker.unacked)
        message, *rest = json.loads(client.hget(worker.unacked, tag) or "")
        message["properties"]["priority"] = 7
        client.hset(worker.unacked, tag, json.dumps([message, *rest]))
        client.delete("celeriac:pools", worker.key("processes"))
    done = run(server, "evacuate", "--yes", *WATCH, "--separator", ":", "--priority-step", "5")
    assert done.exit_code == 0, done.output
    assert waiting(server, "mail:5") == ["1"]


def test_a_user_who_may_not_look_through_all_keys_evacuates_the_registered_ones(server: RedisServer) -> None:
    send(server, "1")
    GoneWorker(server).take("mail")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "few", "on", ">s3cr3t", "~*", "+@all", "-scan")
    url = server.celery_url.replace("redis://:", "redis://few:")
    done = CliRunner().invoke(main, ["evacuate", "--yes", *WATCH], env={"CELERY_BROKER_URL": url})
    assert done.exit_code == 0, done.output
    assert "no registry knows are not looked for" in done.output
    assert waiting(server) == ["1"]


def test_another_key_prefix_is_another_world(server: RedisServer) -> None:
    GoneWorker(server, key_prefix="shop:")
    assert "no worker with the agent" in run(server, "evacuate").output
    assert "0 message(s)" in run(server, "evacuate", "--key-prefix", "shop:", *WATCH).output


def test_dead_letters_are_listed_without_their_arguments_requeued_and_purged(server: RedisServer) -> None:
    send(server, "1", "2")
    worker = GoneWorker(server)
    tags = worker.take("mail", 2)
    with server.client() as client:
        for tag in tags:
            message, _, _ = json.loads(client.hget(worker.unacked, tag) or "")
            message["properties"]["delivery_info"]["celeriac_dead"] = "it kills\x1b[2J"
            client.lpush("celeriac:dead:mail", json.dumps(message))
    assert "      2  mail\n" in run(server, "dead-letters", "list").output
    listed = run(server, "dead-letters", "list", "mail").output
    assert listed.splitlines() == ["1  train  it kills\\x1b[2J", "2  train  it kills\\x1b[2J", "2 dead letter(s)"]
    assert "secret argument" not in listed
    refused = run(server, "dead-letters", "purge", "mail")
    assert (refused.exit_code, "2 dead letter(s) of mail for good: add --yes" in refused.output) == (2, True)
    requeued = run(server, "dead-letters", "requeue", "mail")
    assert requeued.output == "2 dead letter(s) put back into mail\n"
    assert waiting(server) == ["1", "2"]
    with server.client() as client:
        client.rename("mail", "celeriac:dead:mail")
    assert run(server, "dead-letters", "purge", "mail", "--yes").output == "2 dead letter(s) thrown away\n"
    assert run(server, "dead-letters", "list").output == "no dead letters\n"


def test_unroutable_ones_need_a_queue_to_go_to(server: RedisServer) -> None:
    send(server, "1")
    with server.client() as client:
        client.rename("mail", "celeriac:dead:unroutable")
    assert "name it with --to QUEUE" in run(server, "dead-letters", "requeue", "unroutable").output
    assert run(server, "dead-letters", "requeue", "unroutable", "--to", "mail").exit_code == 0
    assert waiting(server) == ["1"]


def test_a_wrong_password_is_told_but_not_shown(server: RedisServer) -> None:
    wrong = f"redis://:s3cr3t-wrong@{HOST}:{server.port}/0"
    result = CliRunner().invoke(main, ["evacuate"], env={"CELERY_BROKER_URL": wrong})
    assert result.exit_code == 1
    assert "AuthenticationFailed" in result.output
    assert "s3cr3t" not in result.output
