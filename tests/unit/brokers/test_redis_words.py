"""Whoever answers at a broker's address chooses the words of the answer: none of them is repeated to people."""

from typing import Any, Final

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from celeriac.brokers.redis.errors import CODES, doubt_of, queue_doubt, registry_doubt, write_doubt
from celeriac.brokers.redis.eviction import Eviction
from celeriac.brokers.redis.greeting import doubt_by_greeting
from celeriac.brokers.redis.sentinels import NoMaster

pytestmark = pytest.mark.unit

CANARY: Final = "canarywords"
WHERE: Final = "Redis at redis.shop:6379"
parse_error: Final[Any] = BaseParser.parse_error  # untyped

ANSWERS: Final = (
    CANARY,
    f"ERR {CANARY}",
    f"{CANARY.upper()} {CANARY}",
    *(f"{code} {CANARY}" for code in sorted(CODES - {"ASK", "MOVED"})),
    f"MOVED 7 {CANARY}:6379",
    f"ASK 7 {CANARY}:6379",
    f"ERR unknown command '{CANARY}', with args beginning with: '{CANARY}'",
    f"ERR unknown subcommand '{CANARY}'",
    f"NOPERM this user has no permissions to run the '{CANARY}' command",
    f"NOPERM User {CANARY} has no permissions to run the '{CANARY}|{CANARY}' command",
    f"NOPERM No permissions to access a key {CANARY}",
    f"ERR Error running script (call to {CANARY}): @user_script:1: {CANARY}",
    f"\x1b[31m{CANARY}\r\n",
)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_error_of_redis_is_told_in_words_of_ours(answer: str) -> None:
    error = parse_error(answer)
    for doubt in (
        doubt_of(error, WHERE),
        doubt_of(NoMaster("shop", [error], {}), WHERE),
        queue_doubt(error, "mail", "list", WHERE),
        registry_doubt(error, "celeriac:pools", WHERE),
        write_doubt(error, "mail", WHERE),
    ):
        assert CANARY not in str(doubt).lower()
        assert str(doubt).isprintable()


@pytest.mark.parametrize(
    "error", [InvalidResponse(f"Protocol Error: {CANARY!r}"), RedisConnectionError(CANARY), ResponseError(CANARY)]
)
def test_so_is_what_is_no_answer_of_redis(error: RedisError) -> None:
    error.__cause__ = ValueError(CANARY)
    assert CANARY not in str(doubt_of(error, WHERE))


@pytest.mark.parametrize(
    "head", ["SSH-2.0-", "HTTP/1.1 200 ", "220 ", "-", "-ERR ", "-NOAUTH ", "+", "\x16\x03", "\x00", "{"]
)
def test_so_is_a_greeting(head: str) -> None:
    for tls in (True, False):
        doubt = doubt_by_greeting(f"{head}{CANARY}\r\n".encode(), WHERE, tls=tls)
        assert CANARY not in str(doubt)


def test_a_command_that_the_operator_does_not_use_is_not_named_and_others_are() -> None:
    assert "SHUTDOWN" not in str(doubt_of(parse_error("ERR unknown command 'SHUTDOWN'"), WHERE))
    assert "HRANDFIELD" in str(doubt_of(parse_error("ERR unknown command 'HRANDFIELD'"), WHERE))
    refused = "NOPERM this user has no permissions to run the '{}' command"
    assert "+hgetall" in str(doubt_of(parse_error(refused.format("hgetall")), WHERE))
    assert "+shutdown" not in str(doubt_of(parse_error(refused.format("shutdown")), WHERE))


def test_a_code_that_redis_has_is_named() -> None:
    assert "(EXECABORT)" in str(doubt_of(ResponseError("EXECABORT whatever"), WHERE))


def test_names_of_masters_are_told_where_they_are_plain() -> None:
    known = {"shop": True, f"{CANARY} <b>": True, "x" * 300: True, "\x1b[2J": True}
    told = str(doubt_of(NoMaster("ship", [], known), WHERE))
    assert "but shop:" in told
    assert CANARY not in told
    assert told.isprintable()
    assert "no master of that name:" in str(doubt_of(NoMaster("ship", [], {"<>": True}), WHERE))


def test_an_eviction_policy_is_told_where_redis_has_it() -> None:
    eviction = Eviction(WHERE, lambda: 0.0)
    eviction.note([{"maxmemory_policy": f"allkeys-{CANARY}", "maxmemory": 1}])
    assert eviction.durability is None
