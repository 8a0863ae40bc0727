"""A way to a server that can be cut without a word, as by a NAT that forgets: nothing is closed, nothing arrives.

with SilentProxy(redis.port) as proxy:
    proxy.port
    proxy.cut()                 # what goes through it is lost, and who dials anew gets no answer
    proxy.cut(new_ones=False)   # the connections of before only
    proxy.turn_to(other.port)   # the connections of before go on, new ones lead there: a failover by name
"""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"


class SilentProxy:
    """Forwards bytes between its own port and another, by two threads for each connection."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._cut: set[socket.socket] = set()
        self._answers_new_ones = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *, new_ones: bool = True) -> None:
        """Lose all that the connections of now carry; `new_ones`: those that are made from now on, too."""
        self._cut |= set(self._sockets)
        self._answers_new_ones = not new_ones

    def turn_to(self, port: int) -> None:
        """Lead who dials from now on to another port."""
        self._target = port

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((HOST, self._target))
                if not self._answers_new_ones:
                    self._cut |= {near, far}
                self._sockets += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source not in self._cut:
                    sink.sendall(data)
        if source not in self._cut:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
