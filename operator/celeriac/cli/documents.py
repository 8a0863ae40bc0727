"""CeleryWorkerPools in files: what `kubectl apply -f` would take, without a cluster."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from celeriac.resources.labels import API_VERSION, KIND

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Document:
    """One CeleryWorkerPool and the file that it comes from."""

    file: str
    body: dict[str, Any]

    @property
    def place(self) -> str:
        """File and name, to begin a message with."""
        metadata = self.body.get("metadata")
        name = metadata.get("name", "(no name)") if isinstance(metadata, dict) else "(no name)"
        return f"{self.file}: {name}"


def read_pools(file: str) -> list[Document]:
    """The CeleryWorkerPools of a YAML or JSON file; `-` is standard input. Other kinds are passed over.

    Raises click.ClickException where there is none, or where the file cannot be read.
    """
    found = [Document(file, body) for body in _bodies(file) if body.get("kind") == KIND]
    if not found:
        raise click.ClickException(f"{file}: no {KIND} in it: give a manifest with `kind: {KIND}`")
    for document in found:
        version = document.body.get("apiVersion")
        if version != API_VERSION:
            raise click.ClickException(f"{document.place}: apiVersion is {version}: write {API_VERSION}")
    return found


def _bodies(file: str) -> Iterator[dict[str, Any]]:
    """The objects of a file; those of a List (`kubectl get -o yaml`) one by one."""
    try:
        text = sys.stdin.read() if file == STANDARD_INPUT else Path(file).read_text(encoding="utf-8")
        documents = list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise click.ClickException(f"{file}: is no YAML: {error}") from error
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise click.ClickException(f"{file}: is no Kubernetes manifest: an object with apiVersion and kind is one")
        items = document.get("items")
        yield from items if document.get("kind") == "List" and isinstance(items, list) else [document]
