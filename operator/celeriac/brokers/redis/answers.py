"""What a Redis, or one of its kin, says when it refuses: its words, and what a person does about them.

The words are those of Redis 6 to 8, Valkey, KeyDB and Dragonfly (server.c, acl.c, cluster.c, networking.c, sentinel.c),
and of managed services where they have words of their own.
"""

import re
from typing import Final, NamedTuple

from celeriac.api.reasons import Reason
from celeriac.brokers.redis.rights import COMMANDS

_SECRET: Final = "the Secret of spec.broker.urlFrom"
_CLUSTER: Final = "{where} is a Redis Cluster, for which Celery has no transport: use one Redis, or Redis with Sentinel"


class Answer(NamedTuple):
    """An answer is known by its words; `sentence` says what is wrong and what to do, with {where} for the server."""

    words: str
    reason: Reason
    sentence: str


ANSWERS: Final = (
    Answer(
        r"^NOAUTH|^Authentication required",
        Reason.BROKER_AUTHENTICATION_FAILED,
        "{where} asks for a password, and the broker URL has none: write redis://:PASSWORD@HOST:PORT/DB, or"
        f" redis://USER:PASSWORD@HOST:PORT/DB, into {_SECRET}",
    ),
    Answer(
        r"AUTH <password> called without any password|Client sent AUTH, but no password is set",
        Reason.BROKER_AUTHENTICATION_FAILED,
        "{where} has no password, and the broker URL gives one: check that it is the server that is meant, then set"
        f" requirepass there, or drop the password from {_SECRET}",
    ),
    Answer(
        r"^WRONGPASS|invalid password|invalid username-password",
        Reason.BROKER_AUTHENTICATION_FAILED,
        f"{{where}} refused the user or password: correct the broker URL in {_SECRET} (special characters of a password"
        " are written as %XX), or switch the ACL user on",
    ),
    Answer(
        r"problem with LDAP service",
        Reason.BROKER_AUTHENTICATION_FAILED,
        "{where} could not ask its LDAP service about the password: mend the LDAP service",
    ),
    Answer(
        r"^DENIED",
        Reason.BROKER_CONNECTION_FAILED,
        "{where} is in protected mode: without a password it serves its own machine only: set requirepass or an ACL"
        " user there, and name it in the broker URL",
    ),
    Answer(
        r"max number of clients",
        Reason.BROKER_CONNECTION_FAILED,
        "{where} has as many clients as it may have (maxclients): raise maxclients there, or end clients that idle"
        " (CLIENT LIST shows them)",
    ),
    Answer(
        r"max (daily|monthly)? ?request",
        Reason.BROKER_ERROR,
        "{where} takes no more requests, as the limit of its plan is used up: raise the plan",
    ),
    Answer(
        r"not in the allow ?list|whitelist",
        Reason.BROKER_CONNECTION_FAILED,
        "{where} does not admit the address that the operator comes from: add it to the allow list of the service",
    ),
    Answer(
        r"^LOADING|loading the dataset",
        Reason.BROKER_LOADING,
        "{where} is loading its data from disk: wait until it has finished",
    ),
    Answer(
        r"^MASTERDOWN|Link with MASTER is down",
        Reason.BROKER_IS_REPLICA,
        "{where} is a replica that has lost its master: let the broker URL name the master, or use sentinel://",
    ),
    Answer(
        r"^READONLY|read only replica",
        Reason.BROKER_IS_REPLICA,
        "{where} is a replica: let the broker URL name the master, or use sentinel://",
    ),
    Answer(
        r"^MISCONF",
        Reason.BROKER_REFUSES_WRITES,
        "{where} cannot save its data to disk, and takes no writes: no task can be sent or taken. Free or enlarge its"
        " volume (its log says what fails), then run BGSAVE",
    ),
    Answer(
        r"^OOM|used memory > 'maxmemory'|Out of memory",
        Reason.BROKER_FULL,
        "{where} is full, and has no memory left for a message (maxmemory): raise maxmemory, remove what fills it, or"
        " let workers run",
    ),
    Answer(
        r"^NOREPLICAS|Not enough good replicas",
        Reason.BROKER_REFUSES_WRITES,
        "{where} takes no writes, as too few replicas keep up (min-replicas-to-write): bring its replicas back, or"
        " lower min-replicas-to-write",
    ),
    Answer(
        r"^BUSY .*function",
        Reason.BROKER_BUSY,
        "{where} is busy with a function of somebody: wait, or end it with FUNCTION KILL",
    ),
    Answer(
        r"^BUSY\b",
        Reason.BROKER_BUSY,
        "{where} is busy with a script of somebody: wait, or end it with SCRIPT KILL",
    ),
    Answer(
        r"^(CLUSTERDOWN|MOVED|ASK|CROSSSLOT|TRYAGAIN)\b|SELECT is not allowed in cluster mode",
        Reason.BROKER_UNSUPPORTED,
        _CLUSTER,
    ),
    Answer(
        r"DB index|invalid first argument|invalid DB",
        Reason.BROKER_URL_INVALID,
        "{where} has no database of the number in the broker URL: correct it, or raise `databases` in redis.conf",
    ),
    Answer(
        r"unknown command [`'\"]?SENTINEL",
        Reason.BROKER_URL_INVALID,
        "{where}: what answers there is a Redis and no Sentinel: name the Sentinel's port (26379), or write redis://"
        " and drop spec.broker.sentinelMaster",
    ),
)

_UNKNOWN_COMMAND: Final = re.compile(r"unknown (?:sub)?command [`'\"]?([A-Za-z][A-Za-z.|_]{0,30})", re.IGNORECASE)


def answer_to(words: str) -> tuple[Reason, str] | None:
    """The reason and the sentence for what a server said; None for words that nobody foresaw."""
    for answer in ANSWERS:
        if re.search(answer.words, words):
            return answer.reason, answer.sentence
    unknown = _UNKNOWN_COMMAND.search(words)
    if unknown is None:
        return None
    name = unknown[1].lower()
    command = f"the command {name.upper()}" if name in COMMANDS else "a command that it was asked"
    return Reason.BROKER_UNSUPPORTED, (
        f"{{where}} does not know {command}: allow it there (rename-command, the settings of a managed service), or use"
        " a Redis from 6.2 on, or Valkey"
    )
