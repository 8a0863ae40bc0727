"""Other people's words, cut to a length that fits a condition or an event."""

from typing import Final

MESSAGE_LENGTH: Final = 512  # characters


def bounded(text: str, length: int = MESSAGE_LENGTH) -> str:
    """The text on one line, cut to `length` characters, with an ellipsis where something is missing."""
    line = _line(text)
    return line if len(line) <= length else line[: length - 1] + "…"


def bounded_bytes(text: str, size: int) -> str:
    """The text on one line, cut to `size` bytes of UTF-8: the API server counts the length of some fields so."""
    line = _line(text)
    encoded = line.encode()
    return line if len(encoded) <= size else encoded[: size - len("…".encode())].decode(errors="ignore") + "…"


def _line(text: str) -> str:
    """Without what would steer a terminal, or turn the direction in which it writes."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
