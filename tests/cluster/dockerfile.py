"""The little that has to be read from a Dockerfile before it is built: which images it starts from."""

import re
from collections.abc import Mapping

INSTRUCTION = re.compile(r"^\s*(ARG|FROM)\s+(.+?)\s*$", re.IGNORECASE)


def base_images(text: str, build_args: Mapping[str, str]) -> list[str]:
    """Full names of the images that the stages start from, ARGs filled in; earlier stages and scratch left out."""
    arguments: dict[str, str] = {}
    stages: set[str] = {"scratch"}
    found: dict[str, None] = {}
    for instruction, rest in (match.groups() for line in text.splitlines() if (match := INSTRUCTION.match(line))):
        if instruction.upper() == "ARG":
            key, _, default = rest.partition("=")
            arguments.setdefault(key, build_args.get(key, default.strip("\"'")))
            continue
        words = [word for word in rest.split() if not word.startswith("--")]
        image = re.sub(r"\$\{?(\w+)\}?", lambda match: arguments.get(match.group(1), ""), words[0])
        if image.lower() not in stages:
            found[full_name(image)] = None
        if len(words) == 3:
            stages.add(words[2].lower())
    return list(found)


def own_bases(text: str) -> dict[str, str]:
    """The build arguments that name a base by digest, without it: an image that is made here has another."""
    given = (match.group(2).partition("=") for line in text.splitlines() if (match := INSTRUCTION.match(line)))
    return {key: value.strip("\"'").partition("@")[0] for key, _, value in given if "@sha256:" in value}


def full_name(tag: str) -> str:
    """The name with registry and tag, as Docker and containerd complete it: redis:7 -> docker.io/library/redis:7."""
    first, slash, _ = tag.partition("/")
    if not slash:
        tag = f"docker.io/library/{tag}"
    elif "." not in first and ":" not in first and first != "localhost":
        tag = f"docker.io/{tag}"
    return tag if ":" in tag.rsplit("/", 1)[-1] else f"{tag}:latest"
