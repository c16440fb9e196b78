"""The Unix socket: bound by us under a tight umask, and every peer's user id is checked."""

import asyncio
import logging
import os
import socket
import struct
from pathlib import Path
from typing import Any

import uvicorn
from litestar import Litestar
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = logging.getLogger(__name__)


def bind(path: Path) -> socket.socket:
    """Bind the home's socket, replacing a stale one. Call only while holding the server lock.

    The path may be longer than the 107 bytes of `sun_path`: it is reached through its directory's
    descriptor in `/proc/self/fd`.

    Source:
        unix(7), sun_path; proc(5), /proc/pid/fd.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    before = os.umask(0o077)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.umask(before)
        os.close(directory)
    path.chmod(0o600)
    listener.listen(512)
    listener.setblocking(False)
    return listener


def peer_uid(connection: socket.socket) -> int:
    """User id of the process at the other end, as the kernel vouches for it.

    Source:
        unix(7), SO_PEERCRED: struct ucred {pid, uid, gid}.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


class PeerCheckedProtocol(HttpToolsProtocol):
    """HTTP/1.1 that hangs up on other users before reading a byte; root may come in."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Check who is calling, then speak."""
        connection = transport.get_extra_info("socket")
        if connection is not None and peer_uid(connection) not in (os.geteuid(), 0):
            log.warning("connection of another user refused", extra={"uid": peer_uid(connection)})
            transport.abort()
            return
        super().connection_made(transport)


class Listener:
    """Serves an application on one socket until told to leave."""

    def __init__(self, app: Litestar, socket_path: Path) -> None:
        self._path = socket_path
        self._listener: socket.socket | None = None
        config = uvicorn.Config(
            app,
            http=PeerCheckedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
        )
        self._server = _QuietServer(config)

    def open(self) -> None:
        """Bind the socket: from now on clients may connect, and are answered once `run` runs."""
        self._listener = bind(self._path)

    async def run(self) -> None:
        """Serve; returns after `leave`."""
        with self._listener or bind(self._path) as listener:
            await self._server.serve(sockets=[listener])

    def leave(self) -> None:
        """Finish what is being answered, then return from `run`."""
        self._server.should_exit = True

    @property
    def is_idle(self) -> bool:
        """Nobody is connected."""
        return not self._server.server_state.connections


class _QuietServer(uvicorn.Server):
    """Uvicorn without its signal handlers: signals belong to bootstrap."""

    def capture_signals(self) -> Any:
        """Leave every signal alone."""
        from contextlib import nullcontext

        return nullcontext()
