"""Talk to a live supervisor: one JSON line there, one back, over its control socket."""

import asyncio
import os
from collections.abc import Mapping

import msgspec

from labrun.core.ids import AttemptId
from labrun.engines.local.control import ControlFiles

_ANSWER_S = 2.0


async def ask(control: ControlFiles, attempt: AttemptId, request: Mapping[str, object]) -> dict[str, object] | None:
    """Ask a supervisor; None when nobody answers within two seconds, or not what a supervisor says."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            answer = await _exchange(control.path(attempt, "sock"), msgspec.json.encode(request) + b"\n")
        return msgspec.json.decode(answer, type=dict[str, object])
    except (OSError, EOFError, ValueError, RecursionError, asyncio.LimitOverrunError):
        return None  # a script may have taken the socket's name and say anything (DecodeError is a ValueError)


async def _exchange(path: os.PathLike[str], line: bytes) -> bytes:
    parent, name = os.path.split(path)
    directory = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # through the directory's descriptor: a socket's own path may have 107 bytes, a home's more (unix(7))
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{directory}/{name}")
    finally:
        os.close(directory)
    try:
        writer.write(line)
        return await reader.readuntil(b"\n")
    finally:
        writer.close()
