"""What a platform allows, as the values of the operator's chart say it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from celeriac.pool.model import PodSecurity
from celeriac.pool.platform import OPEN, Platform, registry_problem

NO_LIMITS = "sets no limits: there is no `platform` in it"


def read_platform(file: str) -> Platform:
    """The limits of a file with values, such as `helm get values` prints it; its other values are passed over.

    A file without any is told of on standard error. Raises click.ClickException where it cannot be read, or says what
    the chart would refuse.
    """
    try:
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.ClickException(f"{file}: cannot be read: {error}") from None
    given = values.get("platform") if isinstance(values, Mapping) else None
    if not given:
        click.echo(f"{file}: {NO_LIMITS}", err=True)
        return OPEN
    if not isinstance(given, Mapping):
        raise click.ClickException(f"{file}: platform: must be an object with maxReplicas, podSecurity and registries")
    for name, value in given.items():
        if problem := _problem(name, value):
            raise click.ClickException(f"{file}: platform.{problem}")
    return Platform(
        given.get("maxReplicas") or None,
        PodSecurity(given.get("podSecurity", PodSecurity.BASELINE)),
        tuple(str(each) for each in given.get("registries", ())),
    )


def _problem(name: object, value: Any) -> str | None:
    """What the chart has against a value, if anything."""
    match name:
        case "maxReplicas":
            good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            return None if good else "maxReplicas: must be a number of replicas, 0 or more"
        case "podSecurity":
            levels = [each.value for each in PodSecurity]
            return None if value in levels else f"podSecurity: must be one of {', '.join(levels)}"
        case "registries":
            if not isinstance(value, list):
                return "registries: must be a list"
            wrong = [f"registries: {each!r} {said}" for each in value if (said := registry_problem(str(each)))]
            return wrong[0] if wrong else None
    return f"{name}: is no limit of a platform"
