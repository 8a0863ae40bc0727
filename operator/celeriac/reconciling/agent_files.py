"""The agent's files, as the operator carries them."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

FOLDER: Final = "agent/celeriac_agent"
"""In the package where it is installed (pyproject.toml and the Dockerfile put it there), in worker-image of a checkout
otherwise."""


def read_agent() -> Mapping[str, str]:
    """The texts of the agent by the names of its files. Raises FileNotFoundError where the installation lacks it."""
    places = (resources.files("celeriac") / FOLDER, Path(__file__).parents[3] / "worker-image" / FOLDER)
    place = next((each for each in places if each.is_dir()), None)
    if place is None:
        raise FileNotFoundError(f"{FOLDER} is missing from this installation: install celeriac anew")
    files = sorted((each for each in place.iterdir() if each.name.endswith(".py")), key=lambda each: each.name)
    return {each.name: each.read_text(encoding="utf-8") for each in files}
