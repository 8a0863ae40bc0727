"""A name server for tests: it knows a few hosts, and leaves questions about others without any answer.

with NameServer({"redis.shop.svc": ("127.0.0.1",)}, silent=("dead",)) as names: names.resolv_conf
"""

import socket
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

A = 1
ANSWER, RECURSES, NO_SUCH_NAME = 0x8000, 0x0080, 3
TTL_SECONDS = 0


class NameServer:
    """Answers on a free UDP port of 127.0.0.1. `resolv_conf` names it, with `search` domains and ndots as in a Pod."""

    def __init__(
        self, hosts: Mapping[str, Sequence[str]], *, silent: Sequence[str] = (), search: Sequence[str] = ()
    ) -> None:
        """`hosts`: addresses by name; nothing is answered for names whose first label begins with one of `silent`."""
        self.hosts = dict(hosts)
        self.asked: Counter[str] = Counter()
        self._silent = tuple(silent)
        self._folder = tempfile.TemporaryDirectory(prefix="names ")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.resolv_conf = Path(self._folder.name) / "resolv.conf"
        domains = f"search {' '.join(search)}\n" if search else ""
        self.resolv_conf.write_text(f"nameserver 127.0.0.1:{self._socket.getsockname()[1]}\n{domains}options ndots:5\n")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()
        self._folder.cleanup()

    def _serve(self) -> None:
        while not self._ending.is_set():
            try:
                question, peer = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            answer = self._answer(question)
            if answer is not None:
                self._socket.sendto(answer, peer)

    def _answer(self, message: bytes) -> bytes | None:
        name, kind, end = _question(message)
        self.asked[name] += 1
        if name.startswith(self._silent):
            return None
        found = [
            each.packed for each in map(ip_address, self.hosts.get(name, ())) if (each.version == 4) == (kind == A)
        ]
        flags = ANSWER | RECURSES | (0 if name in self.hosts else NO_SUCH_NAME)
        header = message[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0)
        records = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, TTL_SECONDS, len(packed)) + packed for packed in found
        )
        return header + message[12:end] + records


def _question(message: bytes) -> tuple[str, int, int]:
    """The name, the type, and where the question ends."""
    at, labels = 12, []
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels).lower(), struct.unpack(">H", message[at + 1 : at + 3])[0], at + 5
