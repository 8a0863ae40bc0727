"""Redis's protocol (RESP2) within a budget. redis-py's own parser believes every length, and parses without a pause."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis._parsers import _AsyncRESP2Parser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError

from celeriac.brokers.allowance import Lane
from celeriac.brokers.doubt import without_trace
from celeriac.brokers.redis.budget import Answer, one_answer

CHUNK: Final = 64 * 1024
LONGEST_LINE: Final = 16 * 1024
"""Bytes of a line: an error in words, a number, a length."""
DEEPEST: Final = 8
"""Lists in lists: scripts answer three deep."""
INT64: Final = 1 << 63

NO_REDIS: Final = "what it answers is not Redis's protocol"
ENDED: Final = "Connection closed by server."


class BoundedParser(_AsyncRESP2Parser):
    """Reads replies for one connection of redis-py. `lane` tells which others a long answer waits for."""

    def __init__(self, socket_read_size: int, lane: Callable[[], Lane]) -> None:
        super().__init__(socket_read_size)
        self._lane = lane

    async def read_response(self, disable_decoding: bool = False) -> Any:
        """One reply; an error of Redis is returned. Bytes are never decoded.

        Raises InvalidResponse for what is no reply of Redis, AnswerTooLarge, TimeoutError, or redis-py's
        ConnectionError. The connection cannot be used after that.
        """
        if not self._connected:
            raise RedisConnectionError(ENDED)
        with one_answer() as answer:
            try:
                value = await self._value(answer, 0)
            except ValueError:
                error: BaseException = InvalidResponse(NO_REDIS)
            except BaseException as raised:
                error = raised
            else:
                if self._pos == len(self._buffer):  # else there is more, and redis-py looks here for it
                    self._clear()
                return value
        self._clear()
        raise without_trace(error)

    def _clear(self) -> None:
        super()._clear()  # type: ignore[no-untyped-call]
        self._pos = 0

    async def _value(self, answer: Answer, depth: int) -> Any:
        line = self._line()
        while line is None:
            await self._more(answer)
            line = self._line()
        if answer.count(len(line)):
            await answer.pause(self._lane())
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return await self._bulk(answer, int(rest))
        if kind == b":":
            return _int64(rest)
        if kind == b"*":
            return await self._list(answer, int(rest), depth)
        if kind == b"+":
            return rest
        if kind == b"-":
            return self._error(rest)
        raise InvalidResponse(NO_REDIS)

    async def _list(self, answer: Answer, length: int, depth: int) -> list[Any] | None:
        if length == -1:
            return None
        if length < 0 or depth >= DEEPEST:
            raise InvalidResponse(NO_REDIS)
        values: list[Any] = []
        while len(values) < length:
            values.append(await self._value(answer, depth + 1))
        return values

    async def _bulk(self, answer: Answer, length: int) -> bytes | None:
        if length == -1:
            return None
        if length < 0:
            raise InvalidResponse(NO_REDIS)
        if answer.count(length):
            await answer.pause(self._lane())
        end = self._pos + length
        lacking = end + 2 - len(self._buffer)
        if lacking <= 0:
            value, self._pos = self._buffer[self._pos : end], end + 2
            return value
        start = self._buffer[self._pos :]
        self._clear()
        rest = await self._exactly(answer, lacking)
        return b"".join((start[:length], memoryview(rest)[: max(0, length - len(start))]))

    def _error(self, words: bytes) -> RedisError:
        """The error of a reply. Raises it where it says that the server as a whole is not there."""
        try:
            error: RedisError = self.parse_error(words.decode(errors="replace"))  # type: ignore[no-untyped-call]
        except ValueError:  # MOVED and ASK have a slot and an address, which redis-py takes apart
            raise InvalidResponse(NO_REDIS) from None
        if isinstance(error, RedisConnectionError):
            raise error
        return error

    def _line(self) -> bytes | None:
        """The next line of what has arrived; None where its end has not."""
        end = self._buffer.find(b"\r\n", self._pos)
        if (len(self._buffer) if end < 0 else end) - self._pos > LONGEST_LINE:
            raise InvalidResponse(NO_REDIS)
        if end < 0:
            return None
        line, self._pos = self._buffer[self._pos : end], end + 2
        return line

    async def _more(self, answer: Answer) -> None:
        data = await _in_time(answer, self._reader().read(CHUNK))
        if not data:
            raise RedisConnectionError(ENDED)
        self._buffer, self._pos = self._buffer[self._pos :] + data, 0

    async def _exactly(self, answer: Answer, length: int) -> bytes:
        try:
            return await _in_time(answer, self._reader().readexactly(length))
        except asyncio.IncompleteReadError:
            raise RedisConnectionError(ENDED) from None

    def _reader(self) -> asyncio.StreamReader:
        assert self._stream is not None
        return self._stream


async def _in_time(answer: Answer, data: Awaitable[bytes]) -> bytes:
    """Wait for data as long as the answer may be waited for. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(answer.left):
        arrived = await data
    answer.waited(loop.time() - began)
    return arrived


def _int64(text: bytes) -> int:
    number = int(text)
    if not -INT64 <= number < INT64:
        raise InvalidResponse(NO_REDIS)
    return number
