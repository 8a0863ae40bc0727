"""What a user may add to the pods of his workers: an allowlist, as all that is on it goes into the pod unchanged."""

from collections.abc import Callable, Mapping
from typing import Final

from celeriac.pool.fields import Fields, kind, unknown_field
from celeriac.pool.misplaced import ELSEWHERE
from celeriac.pool.model import InvalidPool, PodTemplate


def parse_template(template: Fields) -> PodTemplate:
    """spec.template. Raises InvalidPool for a field that is not on the list and for one of the wrong shape.

    What lies deeper is left to the API server, which refuses it when the Deployment is applied.
    """
    metadata = template.child("metadata")
    spec = template.child("spec")
    for name in spec.values:
        if name not in POD_FIELDS:
            raise unknown_field(spec.path, name, POD_FIELDS, ELSEWHERE.get(name))
        if spec.has(name):
            POD_FIELDS[name](spec, name)
    return PodTemplate(
        labels=string_map(metadata, "labels"),
        annotations=string_map(metadata, "annotations"),
        spec={name: value for name, value in spec.values.items() if value is not None},
    )


def string_map(fields: Fields, name: str) -> Mapping[str, str]:
    """A map of texts by texts, such as labels. Raises InvalidPool for another value."""
    entries = fields.child(name)
    for key, value in entries.values.items():
        if not isinstance(value, str):
            raise InvalidPool(f"{entries.path}[{key}]", f"must be a string, not {kind(value)}: quote it")
    return entries.values


def _text(fields: Fields, name: str) -> None:
    fields.text(name, "")


def _object(fields: Fields, name: str) -> None:
    fields.child(name)


def _objects(*needed: str) -> Callable[[Fields, str], None]:
    """A list of objects in which these fields are strings."""

    def check(fields: Fields, name: str) -> None:
        for item in fields.children(name):
            for key in needed:
                item.needed(key, key)

    return check


# Field by field as the CRD has it.
POD_FIELDS: Final[Mapping[str, Callable[[Fields, str], object]]] = {
    "resources": _object,
    "env": _objects("name"),
    "envFrom": _objects(),
    "volumeMounts": _objects("name", "mountPath"),
    "imagePullPolicy": _text,
    "workingDir": _text,
    "imagePullSecrets": _objects("name"),
    "serviceAccountName": _text,
    "nodeSelector": string_map,
    "tolerations": _objects(),
    "affinity": _object,
    "topologySpreadConstraints": _objects("topologyKey", "whenUnsatisfiable"),
    "volumes": _objects("name"),
    "initContainers": _objects("name", "image"),
    "sidecars": _objects("name", "image"),
    "containerSecurityContext": _object,
    "lifecycle": _object,
    "securityContext": _object,
    "resourceClaims": _objects("name"),
    "priorityClassName": _text,
    "runtimeClassName": _text,
    "schedulerName": _text,
    "dnsPolicy": _text,
    "dnsConfig": _object,
    "hostAliases": _objects("ip"),
}
