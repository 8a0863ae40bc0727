"""`celeriac acl` and `celeriac acl-check`: what the ACL user that a pool's broker URL names may do, and lacks."""

import sys
from collections.abc import Iterable
from enum import StrEnum

import click

from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.rights import Part, Rights, operator_rights, worker_rights
from celeriac.cli.broker_place import on_broker
from celeriac.cli.documents import Document, read_pools
from celeriac.cli.printing import printable
from celeriac.pool.model import InvalidPool, WorkerPool
from celeriac.pool.parse import parse_pool


class Who(StrEnum):
    """Whose rights: the operator and the workers of a pool use one URL, so usually both."""

    BOTH = "both"
    OPERATOR = "operator"
    WORKERS = "workers"


FILES = click.option(
    "-f",
    "--file",
    "files",
    required=True,
    multiple=True,
    metavar="FILE",
    help="A file with the pools that use this Redis; - is standard input. May be given several times.",
)
WHO = click.option(
    "--for",
    "who",
    type=click.Choice([each.value for each in Who]),
    default=Who.BOTH.value,
    show_default=True,
    help="Whose rights.",
)
RESULTS = click.option("--results", is_flag=True, help="The workers keep their results in this Redis, too.")
QUEUES = click.option(
    "--queue", "queues", multiple=True, metavar="NAME", help="A further queue to which their tasks send. Repeatable."
)


@click.command()
@FILES
@WHO
@RESULTS
@QUEUES
@click.option("--user", default="celery", show_default=True, metavar="NAME", help="Name of the user in Redis.")
def acl(files: tuple[str, ...], who: str, results: bool, queues: tuple[str, ...], user: str) -> None:
    """Print the rule of the ACL user that a pool's broker URL names, to be pasted into redis.conf or
    users.acl, with the password in place of PASSWORD.

    With redis-cli or a managed service, write ACL SETUSER in place of user.

    \b
    Examples:
      celeriac acl -f pool.yaml
      celeriac acl -f ml.yaml -f mail.yaml --user shop --results
    """
    rule = rights(files, Who(who), results=results, queues=queues).rule()
    click.echo(f"user {printable(user)} on >PASSWORD {printable(rule)}")


@click.command("acl-check")
@FILES
@WHO
@RESULTS
@QUEUES
@on_broker(lambda broker: broker if isinstance(broker, RedisBroker) else None)
async def acl_check(
    broker: RedisBroker, files: tuple[str, ...], who: str, results: bool, queues: tuple[str, ...]
) -> None:
    """Ask Redis what the user of the broker URL lacks of the rule, all at once; nothing is changed.

    Exits with 1 when something is missing, and prints that in the words of ACL SETUSER.

    \b
    Examples:
      export CELERY_BROKER_URL=redis://shop:...@redis:6379/0
      celeriac acl-check -f pool.yaml
    """
    missing = await broker.lacks(rights(files, Who(who), results=results, queues=queues))
    if missing:
        click.echo(printable(" ".join(missing)))
        sys.exit(1)
    click.echo("nothing is missing", err=True)


def rights(files: Iterable[str], who: Who, *, results: bool, queues: tuple[str, ...]) -> Rights:
    """All that the pools of these files need together."""
    pools = [_pool(document) for file in files for document in read_pools(file)]
    parts = [Part(pool.broker.layout, (*pool.queues, *queues), bool(pool.agent)) for pool in pools]
    wanted = Rights()
    if who is not Who.WORKERS:
        wanted |= operator_rights(parts)
    if who is not Who.OPERATOR:
        wanted |= worker_rights(parts, results=results)
    return wanted


def _pool(document: Document) -> WorkerPool:
    try:
        return parse_pool(document.body)
    except InvalidPool as error:
        raise click.ClickException(f"{document.place}: {error}") from error
