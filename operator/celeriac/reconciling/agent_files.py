"""The agent's files, as the operator carries them."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

FILE: Final = "agent/celeriac_agent.py"
"""In the package where it is installed (pyproject.toml and the Dockerfile put it there), in worker-image of a checkout
otherwise."""


def read_agent() -> Mapping[str, str]:
    """The texts of the agent by the names of its files. Raises FileNotFoundError where the installation lacks it."""
    places = (resources.files("celeriac") / FILE, Path(__file__).parents[3] / "worker-image" / FILE)
    place = next((each for each in places if each.is_file()), None)
    if place is None:
        raise FileNotFoundError(f"{FILE} is missing from this installation: install celeriac anew")
    return {place.name: place.read_text(encoding="utf-8")}
