"""Where programs, images and the state of running clusters are kept: XDG base directories, never the checkout."""

import os
from pathlib import Path


def cache() -> Path:
    """Built programs and images: safe to delete at any time, costs a rebuild."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def state() -> Path:
    """One folder for each running cluster."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "clusters"


def _xdg(variable: str, default: str) -> Path:
    """The XDG rule: an unset, empty or relative value counts as the default."""
    value = Path(os.environ.get(variable, ""))
    return (value if value.is_absolute() else Path.home() / default) / "celeriac"
