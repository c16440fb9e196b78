"""`lab bridge`: the far end of `lab --host`: introduce this machine, then copy bytes to its server and back."""

import json
import os
import selectors
import socket
from typing import Any

import click

from labrun import __version__, settings
from labrun.capture import caller
from labrun.cli import surroundings
from labrun.cli.connect import start
from labrun.cli.output import Output
from labrun.client.address import socket_of
from labrun.client.connection import NotListening, connect
from labrun.client.host import INTRODUCTION
from labrun.core.errors import LabError, NotRunnable

_PIECE_BYTES = 1 << 18


@click.command(hidden=True)
@click.pass_obj
def bridge(output: Output) -> int:
    """Connect standard input and output with the server of this home; `lab --host` calls it through ssh.

    The first line says who we are; after it the bytes are the API's.

    \b
    Example:
      ssh box lab bridge
    """
    home = settings.home_path()
    try:
        try:
            line = connect(socket_of(home), 10.0)
        except NotListening:
            start(home, output)
            line = connect(socket_of(home), 10.0)
        told: dict[str, Any] = _introduction()
    except NotListening as error:
        told = {"error": {"code": "server_unreachable", "message": f"its server went away again: {error}"}}
        line = None
    except LabError as error:
        told = {"error": {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details}}
        line = None
    _write(1, INTRODUCTION + json.dumps(told).encode() + b"\n")
    if line is not None:
        with socket.socket(fileno=line.detach()) as server:
            _copy(server)
    return 0


def _introduction() -> dict[str, Any]:
    """What a submit from elsewhere must know of this machine."""
    home, variables = settings.home_path(), surroundings.caller_variables()
    try:
        python = str(caller.interpreter(variables, home))
    except NotRunnable:
        python = None
    return {
        "version": __version__,
        "user": caller.user_name(),
        "host": caller.host_name(),
        "home": str(home),
        "python": python,
        "variables": {name: text for name, text in variables.items() if caller.is_readable_text(name + text)},
        "process": caller.process_settings(),
        "pods": settings.pods(home),
    }


def _copy(server: socket.socket) -> None:
    """Copy both ways until one side ends."""
    server.settimeout(None)
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == 0:
                    if not (piece := os.read(0, _PIECE_BYTES)):
                        return
                    server.sendall(piece)
                else:
                    if not (piece := server.recv(_PIECE_BYTES)):
                        return
                    _write(1, piece)


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
