"""HTTP/1.1 over the home's Unix socket, by hand: what the hot commands need and nothing heavy.

Source:
    RFC 9112, sections 6 (message body), 7.1 (chunked coding), 9.3 (persistence).
"""

import _socket
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_SUN_PATH_BYTES = 107  # unix(7): 108 with the terminating zero
_HEAD_LIMIT_BYTES = 64 * 1024
_BODY_LIMIT_BYTES = 2**30
"""No answer is as long as this; what claims to be would only fill the memory."""
_SENT_AT_ONCE_BYTES = 1 << 20


class NotListening(Exception):
    """Nobody accepts connections at this address; nothing was sent."""


class BrokenOff(Exception):
    """The connection ended before the answer was whole; the request may or may not have been carried out."""


class NoAnswer(Exception):
    """The server took the request and said nothing for the whole time limit."""


class Body(NamedTuple):
    """What a request carries, when it is too long to be held."""

    size_bytes: int
    pieces: Callable[[], Iterable[bytes]]
    """Gives it from the start, as often as it must be sent."""


class Reply:
    """A whole answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        """Names in lower case."""
        self.body = body


def connect(path: Path, timeout_s: float) -> _socket.socket:
    """Open a connection to a Unix socket of any path length.

    Raises:
        NotListening: There is no socket, or nobody behind it.
    """
    plain = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    plain.settimeout(timeout_s)
    directory = -1
    try:
        target = os.fspath(path)
        if len(os.fsencode(target)) > _SUN_PATH_BYTES:
            directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
            target = f"/proc/self/fd/{directory}/{path.name}"
        plain.connect(target)
    except OSError as error:
        plain.close()
        raise NotListening(error.strerror or str(error)) from error
    except BaseException:
        plain.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return plain


class Connection:
    """One connection; requests one after the other, kept alive in between."""

    def __init__(self, to: Path | _socket.socket, timeout_s: float = 10.0) -> None:
        """Connect to a Unix socket, or take over a line that leads to a server."""
        self._socket = connect(to, timeout_s) if isinstance(to, Path) else to
        self._buffer = b""
        self.is_usable = True

    def close(self) -> None:
        """Hang up."""
        self.is_usable = False
        self._socket.close()

    def exchange(
        self,
        method: str,
        target: str,
        *,
        body: bytes | Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        kind: str = "application/json",
    ) -> Reply:
        """Send one request and read its whole answer.

        Args:
            method: GET or POST.
            target: Path and query, already percent-encoded.
            body: What `kind` says, or None.
            headers: Further header lines.
            timeout_s: Longest standstill between two pieces of the request or of the answer.
            kind: Media type of the body.

        Raises:
            BrokenOff: The connection ended before the answer was whole.
            NoAnswer: Silence for `timeout_s`.
        """
        lines = [f"{method} {target} HTTP/1.1", "Host: lab"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            size = body.size_bytes if isinstance(body, Body) else len(body)
            lines += [f"Content-Type: {kind}", f"Content-Length: {size}"]
        head = "\r\n".join([*lines, "", ""]).encode("ascii")
        try:
            self._socket.settimeout(timeout_s)
            self._send(head, body)
            return self._read_reply()
        except TimeoutError as error:
            self.close()
            raise NoAnswer(f"no answer within {timeout_s:g} s") from error
        except OSError as error:
            self.close()
            raise BrokenOff(error.strerror or str(error)) from error
        except BaseException:  # also an interrupt: what was read so far belongs to no later answer
            self.close()
            raise

    def _send(self, head: bytes, body: bytes | Body | None) -> None:
        if isinstance(body, Body):
            self._socket.sendall(head)
            for piece in body.pieces():
                self._socket.sendall(piece)
            return
        if body is None or len(body) <= _SENT_AT_ONCE_BYTES:
            self._socket.sendall(head + (body or b""))
            return
        self._socket.sendall(head)
        for at in range(0, len(body), _SENT_AT_ONCE_BYTES):  # the time limit is that of a piece: lines may be slow
            self._socket.sendall(body[at : at + _SENT_AT_ONCE_BYTES])

    def _read_reply(self) -> Reply:
        status, headers, is_persistent = self._read_head()
        while 100 <= status < 200:
            status, headers, is_persistent = self._read_head()
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._read_chunks()
        elif "content-length" in headers:
            body = self._read_exactly(_bounded(_number(headers["content-length"], 10)))
        elif status in (204, 304):
            body = b""
        else:
            body, is_persistent = self._read_to_end(), False
        if not is_persistent or headers.get("connection", "").lower() == "close":
            self.close()
        return Reply(status, headers, body)

    def _read_head(self) -> tuple[int, dict[str, str], bool]:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > _HEAD_LIMIT_BYTES:
                raise BrokenOff("the answer's head is too long")
            self._buffer += self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise BrokenOff("the answer is not HTTP")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(rest[:3]), headers, version == "HTTP/1.1"

    def _read_chunks(self) -> bytes:
        pieces: list[bytes] = []
        length = 0
        while size := _number(self._read_line().partition(b";")[0].decode("latin-1"), 16):
            length = _bounded(length + size)
            pieces.append(self._read_exactly(size))
            self._read_line()
        while self._read_line():
            pass  # trailer fields, which nobody here uses
        return b"".join(pieces)

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > _HEAD_LIMIT_BYTES:
                raise BrokenOff("a line of the answer is too long")
            self._buffer += self._receive()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _read_exactly(self, size: int) -> bytes:
        pieces = [self._buffer[:size]]
        self._buffer = self._buffer[size:]
        missing = size - len(pieces[0])
        while missing:
            pieces.append(self._receive(min(missing, 1 << 20)))
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def _read_to_end(self) -> bytes:
        pieces = [self._buffer]
        self._buffer, length = b"", len(self._buffer)
        while piece := self._socket.recv(1 << 16):
            length = _bounded(length + len(piece))
            pieces.append(piece)
        return b"".join(pieces)

    def _receive(self, size: int = 1 << 16) -> bytes:
        piece = self._socket.recv(size)
        if not piece:
            raise BrokenOff("the server hung up")
        return piece


def _bounded(size_bytes: int) -> int:
    if size_bytes > _BODY_LIMIT_BYTES:
        raise BrokenOff("the answer is too long")
    return size_bytes


def _number(text: str, base: int) -> int:
    try:
        number = int(text.strip(), base)
    except ValueError:
        number = -1
    if number < 0:
        raise BrokenOff(f"`{text[:40]}` is no length")
    return number
