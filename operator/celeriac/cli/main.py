"""`celeriac`: look at CeleryWorkerPool manifests and into Redis without a cluster. (The operator itself is
`python -m celeriac`.)
"""

import sys
from typing import Any

import click

from celeriac import __version__
from celeriac.cli.acl import acl, acl_check
from celeriac.cli.convert.command import convert_command
from celeriac.cli.dead_letters import dead_letters
from celeriac.cli.documents import Document, read, read_pools
from celeriac.cli.evacuate import evacuate
from celeriac.cli.lint import lint as find
from celeriac.cli.platform_values import read_platform
from celeriac.cli.yaml_text import to_yaml
from celeriac.pool.model import InvalidPool
from celeriac.pool.parse import parse_pool
from celeriac.pool.platform import OPEN
from celeriac.reconciling.agent_files import read_agent
from celeriac.resources import build_deployment

FILE_HELP = "A file with one or more CeleryWorkerPools; - is standard input. May be given several times."


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="celeriac")
def main() -> None:
    """Look at CeleryWorkerPool manifests, and into the Redis of their workers, without a cluster.

    \b
    Pools of a running cluster:  kubectl celery --help
    The operator itself:         python -m celeriac --help
    """


main.add_command(convert_command)
main.add_command(acl)
main.add_command(acl_check)
main.add_command(evacuate)
main.add_command(dead_letters)


@main.command()
@click.option("-f", "--file", "files", required=True, multiple=True, metavar="FILE", help=FILE_HELP)
@click.option(
    "--url-has-query", is_flag=True, help="The broker URL in the Secret has a query (matters with broker.tls)."
)
def render(files: tuple[str, ...], url_has_query: bool) -> None:
    """Print the Deployment that the operator would make of a CeleryWorkerPool.

    A pool in a file has no uid yet, so the owner reference is left out. The replicas are left out as the operator
    leaves them out: they are set by scaling.

    \b
    Examples:
      celeriac render -f pool.yaml
      celeriac render -f pool.yaml | kubectl apply --dry-run=server -f -
      kubectl get cwp ml -o yaml | celeriac render -f -
    """
    documents = [document for file in files for document in read_pools(file)]
    click.echo("---\n".join(to_yaml(_deployment(document, url_has_query)) for document in documents), nl=False)


@main.command()
@click.option("-f", "--file", "files", required=True, multiple=True, metavar="FILE", help=FILE_HELP)
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings too.")
@click.option(
    "--platform",
    "values",
    metavar="FILE",
    help="Values of the operator's chart; pools are held against `platform` in them, as the operator does it.",
)
def lint(files: tuple[str, ...], strict: bool, values: str | None) -> None:
    """Say what is wrong with CeleryWorkerPools, and what may surprise.

    An error is what the API server or the operator refuses, unknown fields included; a warning is what Celery or
    Kubernetes does with it that few expect. Exits with 1 when there is an error. The depths of spec.template.spec are
    checked by a cluster only: kubectl apply --dry-run=server of what `celeriac render` prints.

    \b
    Examples:
      celeriac lint -f pool.yaml
      celeriac lint --strict -f ml.yaml -f batch.yaml      in CI, with the pools of one Redis together
      celeriac lint --platform values.yaml -f pool.yaml    within the limits of: helm get values celeriac -n celeriac
    """
    documents = [document for file in files for document in read(file)]
    findings = find(documents, OPEN if values is None else read_platform(values))
    for finding in findings:
        click.echo(str(finding))
    errors = sum(finding.is_error for finding in findings)
    pools = sum(isinstance(document, Document) for document in documents)
    click.echo(f"{pools} pool(s): {errors} error(s), {len(findings) - errors} warning(s)", err=True)
    sys.exit(1 if errors or (strict and findings) else 0)


def _deployment(document: Document, url_has_query: bool) -> dict[str, Any]:
    try:
        pool = parse_pool(document.body)
    except InvalidPool as error:
        raise click.ClickException(f"{document.place}: {error}") from error
    manifest = build_deployment(pool, agent=read_agent(), url_has_query=url_has_query)
    if not pool.uid:
        del manifest["metadata"]["ownerReferences"]
    return manifest
