"""Servers at a broker's address that answer what no Redis answers: all the ways that a tenant could choose.

with Strangers("endless bulk", "silence") as strangers:     # in a process of their own
    strangers.urls["silence"]

with Hostile(each(answer)) as server:                       # by threads of this process
    server.url
"""

import contextlib
import itertools
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"
CANARY: Final = b"foreign-words"
"""Stands in all that these servers say, and must stand nowhere that people look."""
BLOCK: Final = 64 * 1024

Story = Callable[[socket.socket], None]
"""What is done with one connection; it may take for ever, and end by an OSError."""


class Hostile:
    """Each connection gets a thread that tells the same story; all end with the server."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._listener = socket.create_server((HOST, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address, as a pool would name it."""
        return f"redis://{HOST}:{self.port}/0"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.add(connection)
                threading.Thread(target=self._tell, args=(connection,), daemon=True).start()

    def _tell(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._story(connection)
        self._open.discard(connection)
        connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *tuple(self._open)):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def commands(connection: socket.socket) -> Iterator[tuple[bytes, ...]]:
    """What the other side asks, command by command."""
    with connection.makefile("rb") as lines:
        while head := lines.readline():
            words: list[bytes] = []
            for _ in range(int(head[1:]) if head[:1] == b"*" else 0):
                size = int(lines.readline()[1:])
                words.append(lines.read(size + 2)[:size])
            yield tuple(words or head.split())


def _endless(head: bytes, block: bytes) -> Story:
    def tell(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(head)
        while True:
            connection.sendall(block)

    return tell


def _once(answer: bytes, *, then_silent: bool = True) -> Story:
    def tell(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(answer)
        while then_silent and connection.recv(BLOCK):
            pass

    return tell


def _drip(head: bytes) -> Story:
    def tell(connection: socket.socket) -> None:
        connection.recv(1)
        for byte in itertools.chain(head, itertools.repeat(ord("x"))):
            connection.sendall(bytes([byte]))
            time.sleep(0.2)

    return tell


def each(answer: Callable[[tuple[bytes, ...]], bytes]) -> Story:
    """The same kind of answer to each command."""

    def tell(connection: socket.socket) -> None:
        for words in commands(connection):
            connection.sendall(answer(words))

    return tell


def _to_each(answer: bytes) -> Story:
    return each(lambda _: answer)


def _reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _silent(connection: socket.socket) -> None:
    while connection.recv(BLOCK):
        pass


def bulk(text: bytes) -> bytes:
    """A string in Redis's protocol."""
    return b"$%d\r\n%s\r\n" % (len(text), text)


def array(*items: bytes) -> bytes:
    """A list in Redis's protocol."""
    return b"*%d\r\n%s" % (len(items), b"".join(items))


FLOODS: Final[Mapping[str, Story]] = {
    "endless line": _endless(b"+", CANARY * 4096),
    "endless error": _endless(b"-ERR ", CANARY * 4096),
    "endless bulk": _endless(b"$1000000000000\r\n", CANARY * 4096),
    "largest bulk that is read": _endless(b"$16000000\r\n", CANARY * 4096),
    "many large bulks": _endless(b"*1000\r\n", bulk(CANARY * 40_000)),
    "endless list of numbers": _endless(b"*1000000000\r\n", b":1\r\n" * 16_384),
    "endless list of nothing": _endless(b"*1000000000\r\n", b"$-1\r\n" * 16_384),
    "endless list of words": _endless(b"*1000000000\r\n", bulk(CANARY) * 4096),
    "endless list of empty lists": _endless(b"*1000000000\r\n", b"*0\r\n" * 16_384),
    "endless replies": _endless(b"", b"+OK\r\n" * 16_384),
}
"""They send as fast as they can, for ever."""

ODDITIES: Final[Mapping[str, Story]] = {
    "nested deeply": _once(b"*1\r\n" * 100_000),
    "nested for ever": _endless(b"", b"*1\r\n" * 16_384),
    "a negative length": _once(b"*-5\r\n"),
    "a negative size": _once(b"$-7\r\n"),
    "a length in words": _once(b"$" + CANARY + b"\r\n"),
    "a number without end": _once(b":" + b"9" * 100_000 + b"\r\n"),
    "a number that is none": _once(b":" + CANARY + b"\r\n"),
    "another protocol": _once(b"\x00\x01\x02" + CANARY),
    "half an answer": _once(b"*3\r\n$5\r\nab"),
    "half an answer, and away": _once(b"*3\r\n$5\r\nab", then_silent=False),
    "a reset": _reset,
    "silence": _silent,
    "drops, one at a time": _drip(b"$100000\r\n"),
    "drops of a line": _drip(b"+"),
    "numbers only": _to_each(b":1\r\n"),
    "negative numbers only": _to_each(b":-1\r\n"),
    "the largest numbers": _to_each(b":9223372036854775807\r\n"),
    "words only": _to_each(bulk(CANARY)),
    "nothing only": _to_each(b"$-1\r\n"),
    "no list": _to_each(b"*-1\r\n"),
    "empty lists only": _to_each(b"*0\r\n"),
    "lists of lists": _to_each(array(array(bulk(CANARY)), array())),
    "lists of odd things": _to_each(array(b":1\r\n", bulk(CANARY), b"$-1\r\n", b"-ERR " + CANARY + b"\r\n")),
    "pairs of numbers": _to_each(array(b":5\r\n", b":5\r\n")),
    "a number and a word": _to_each(array(b":5\r\n", bulk(CANARY))),
    "errors only": _to_each(b"-ODD\r\n"),
    "errors with words": _to_each(b"-ERR " + CANARY + b"\r\n"),
    "errors by a code of their own": _to_each(b"-" + CANARY + b" " + CANARY + b"\r\n"),
    "a command that is not known": _to_each(b"-ERR unknown command '" + CANARY + b"', with args: " + CANARY + b"\r\n"),
    "a command that is refused": _to_each(
        b"-NOPERM this user has no permissions to run the 'foreign|words' command " + CANARY + b"\r\n"
    ),
    "a move to nowhere": _to_each(b"-MOVED " + CANARY + b"\r\n"),
    "INFO of its own": _to_each(bulk(b"maxmemory_policy:allkeys-%s\r\nrole:%s\r\n" % (CANARY, CANARY))),
    "three answers to each": _to_each(b"+OK\r\n" * 3),
}
"""Servers that are no flood: what they answer is wrong, or too late."""


class Strangers:
    """Servers that tell these stories, in a process of their own: their threads take nobody's time here."""

    def __init__(self, *names: str) -> None:
        """A name may come more than once; by default all of them."""
        self._names = names or (*FLOODS, *ODDITIES)
        self._process: subprocess.Popen[str] | None = None
        self.urls: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._names], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.urls = list(zip(self._names, json.loads(self._process.stdout.readline()), strict=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()


def main(names: Sequence[str]) -> None:
    """Serve until killed, or until whoever started this is gone."""
    stories = {**FLOODS, **ODDITIES}
    servers = [Hostile(stories[name]) for name in names]
    print(json.dumps([server.url for server in servers]), flush=True)
    sys.stdin.read()
    signal.raise_signal(signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
