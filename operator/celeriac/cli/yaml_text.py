"""YAML as people read it: in the order written, text of several lines as a block."""

from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """SafeDumper with literal blocks, and without anchors, which kubectl understands but nobody likes to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def to_yaml(manifest: dict[str, Any]) -> str:
    """The manifest as one YAML document."""
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120)
