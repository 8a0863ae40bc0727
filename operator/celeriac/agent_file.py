"""The agent's one file, as the operator carries it."""

from importlib import resources
from pathlib import Path
from typing import Final

FILE: Final = "agent/celeriac_agent.py"
"""In the package where it is installed (pyproject.toml and the Dockerfile put it there), in worker-image of a checkout
otherwise."""


def read_agent() -> str:
    """The text of the agent. Raises FileNotFoundError where the installation lacks it."""
    places = (resources.files("celeriac") / FILE, Path(__file__).parents[2] / "worker-image" / FILE)
    place = next((each for each in places if each.is_file()), None)
    if place is None:
        raise FileNotFoundError(f"{FILE} is missing from this installation: install celeriac anew")
    return place.read_text(encoding="utf-8")
