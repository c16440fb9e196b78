"""A scripted edge: answers each connection's requests with given bytes. For what only a sick server does."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

Answer = bytes | None | Callable[[bytes], bytes]
"""Raw bytes, None to hang up without a word, or a function of the request."""


class Edge:
    """What a client met: every request it sent, and how many connections it opened."""

    def __init__(self, path: Path, answers: list[Answer]) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX)
        directory = os.open(path.parent, os.O_PATH)
        self._listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.close(directory)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        while (request := _read_request(connection)) is not None and self._answers:
            self.requests.append(request)
            answer = self._answers.pop(0)
            if answer is None:
                return
            content = answer(request) if callable(answer) else answer
            connection.sendall(content)
            if b"\r\nConnection: close" in content:
                return


def _read_request(connection: socket.socket) -> bytes | None:
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(65536)
        if not piece:
            return None
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
    size = int(lengths[0]) if lengths else 0
    while len(body) < size:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def reply(body: bytes, *, status: int = 200, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@contextlib.contextmanager
def edge(path: Path, *answers: Answer) -> Iterator[Edge]:
    running = Edge(path, list(answers))
    try:
        yield running
    finally:
        running.close()
