"""The command line of `celeriac convert`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from celeriac.cli.convert.pools import Converted, convert
from celeriac.cli.convert.remarks import Body
from celeriac.cli.documents import STANDARD_INPUT
from celeriac.cli.yaml_text import to_yaml

FILE_HELP = "A file with Kubernetes manifests; - is standard input. May be given several times."


@click.command(name="convert")
@click.option("-f", "--file", "files", required=True, multiple=True, metavar="FILE", help=FILE_HELP)
@click.option("--app", metavar="APP", help="What celery -A takes, for workers that their image starts by itself.")
def convert_command(files: tuple[str, ...], app: str | None) -> None:
    """Turn Deployments of Celery workers into CeleryWorkerPools.

    Each Deployment whose command starts a celery worker becomes a pool, with the ScaledObject (KEDA: triggers redis,
    redis-sentinel, rabbitmq, and their TriggerAuthentication) or the HorizontalPodAutoscaler that names it. Pools go to
    standard output; what they do not carry over, and what wants a look, stands above each as a comment and on standard
    error. Nothing of a cluster is read or changed, and no password is printed that stood in a broker's URL.

    \b
    Examples:
      celeriac convert -f deployment.yaml -f scaledobject.yaml > pool.yaml
      kubectl get deployment,scaledobject,triggerauthentication,hpa -o yaml | celeriac convert -f - > pools.yaml
      helm template shop charts/shop | celeriac convert -f -

    \b
    Then:
      celeriac lint -f pool.yaml                       what is wrong, and what may surprise
      kubectl apply --dry-run=server -f pool.yaml      what the API server says to it
      kubectl delete scaledobject shop; kubectl delete deployment shop; kubectl apply -f pool.yaml

    A pool makes a Deployment of its own name: the old one has to be gone, or the pool gets another name and
    both consume side by side until you delete the old one. Exits with 1 where no Deployment runs a worker.
    """
    result = convert([each for file in files for each in _objects(file)], app)
    for line in result.passed_over:
        click.echo(line, err=True)
    for converted in result.pools:
        for remark in converted.remarks.said:
            click.echo(f"{converted.pool['metadata']['name']}: {remark}", err=True)
    if not result.pools:
        raise click.ClickException("no Deployment here runs a celery worker")
    click.echo("---\n".join(_text(each) for each in result.pools), nl=False)


def _text(converted: Converted) -> str:
    """The pool with what is to be told of it above."""
    lines = [f"Made of {', '.join(converted.sources)} by celeriac convert."]
    if converted.remarks.said:
        lines += ["Not carried over, or in want of a look:", *(f"- {each}" for each in converted.remarks.said)]
    return "".join(f"# {line}\n" for line in lines) + to_yaml(converted.pool)


def _objects(file: str) -> Iterator[Body]:
    """The objects of a file, those of a List one by one. Raises click.ClickException where it cannot be read."""
    try:
        text = sys.stdin.read() if file == STANDARD_INPUT else Path(file).read_text(encoding="utf-8")
        documents = list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.ClickException(f"{file}: cannot be read: {error}") from None
    for document in documents:
        yield from _flat(file, document)


def _flat(file: str, document: Any) -> Iterator[Body]:
    if document is None:
        return
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise click.ClickException(f"{file}: is no Kubernetes manifest: an object with apiVersion and kind is one")
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _flat(file, item)
    else:
        yield document
