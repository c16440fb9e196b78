import json
import socket
import subprocess

import pytest

from labrun.client.connection import Connection
from labrun.client.host import INTRODUCTION
from tests.cli.conftest import LAB, Shell

pytestmark = pytest.mark.timeout(120)


def open_bridge(shell: Shell, **variables: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen([*LAB, "bridge"], env=shell.variables | variables, stdin=theirs, stdout=theirs)
    return ours, process


def first_line(line: socket.socket) -> bytes:
    heard = b""
    while not heard.endswith(b"\n"):
        piece = line.recv(1)
        assert piece, heard
        heard += piece
    return heard


def test_it_starts_a_server_introduces_the_machine_and_carries_the_api(shell: Shell) -> None:
    line, process = open_bridge(shell, GREETING="hello")
    with line:
        heard = first_line(line)
        assert heard.startswith(INTRODUCTION)
        told = json.loads(heard[len(INTRODUCTION) :])
        assert told["home"] == str(shell.home)
        assert told["variables"]["GREETING"] == "hello"
        assert told["python"].endswith(("python", "python3"))
        connection = Connection(line)  # type: ignore[arg-type]  # the plain class is what it is made of
        for _ in range(2):
            assert json.loads(connection.exchange("GET", "/v1/server").body)["home"] == str(shell.home)
    assert process.wait(20) == 0


def test_what_keeps_the_server_from_starting_is_told_as_an_error(shell: Shell) -> None:
    shell.home.mkdir()
    (shell.home / "strange").touch()
    line, process = open_bridge(shell)
    with line:
        told = json.loads(first_line(line)[len(INTRODUCTION) :])
    assert told["error"]["code"] == "home_unusable"
    assert process.wait(20) == 0


def test_it_is_not_offered_to_people(shell: Shell) -> None:
    assert "bridge" not in shell.lab("--help").stdout
