"""How commands go over the wire (RESP): packed once where they are sent again and again."""

from typing import NamedTuple

Command = tuple[str | bytes | int, ...]


class Packed(NamedTuple):
    """One command. `name` tells what its reply looks like."""

    name: str
    data: bytes


def packed(command: Command) -> Packed:
    """An array of bulk strings."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    texts = [b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)]
    return Packed(str(command[0]), b"".join(texts))
