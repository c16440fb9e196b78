import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.client.api import Client, quote
from labrun.core.errors import AmbiguousReference, LabError, ServerUnreachable
from tests.client.edge import Edge, edge, reply


def problem(code: str, status: int = 503, **more: object) -> bytes:
    return reply(json.dumps({"code": code, "message": "m", "hint": "h", **more}).encode(), status=status)


@contextlib.contextmanager
def client_of(path: Path, lab: str = "main") -> Iterator[Client]:
    client = Client(path, lab)
    yield client
    client.close()


def key_of(request: bytes) -> str:
    lines = request.decode().split("\r\n")
    return next(line.split(": ")[1] for line in lines if line.startswith("Idempotency-Key"))


@given(st.binary())
def test_quoting_keeps_every_byte(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    assert unquote_to_bytes(quote(text)) == text.encode("utf-8", "surrogateescape")
    assert quote(text).isascii()


def test_an_error_arrives_as_the_class_the_server_raised(tmp_path: Path) -> None:
    path = tmp_path / "s"
    answer = problem("ambiguous_reference", 409, details=["EXP-001", "EXP-002"])
    with edge(path, answer), client_of(path) as client, pytest.raises(AmbiguousReference) as caught:
        client.experiment("2026")
    assert (caught.value.message, caught.value.hint, caught.value.details) == ("m", "h", ["EXP-001", "EXP-002"])


def test_an_error_that_is_not_ours_is_still_told(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with edge(path, reply(b"<html>", status=502)), client_of(path) as client:
        with pytest.raises(LabError) as caught:
            client.status()
        assert "502: <html>" in caught.value.message


def test_a_submit_is_repeated_with_the_same_key_after_broken_connections(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with (
        edge(path, None, problem("server_stopping"), None, reply(b'{"done":1}', status=201)) as running,
        client_of(path) as client,
    ):
        assert client.submit({"spec": {}}, "k" * 16) == {"done": 1}
    assert len(running.requests) == 4
    assert {key_of(request) for request in running.requests} == {"k" * 16}


@pytest.mark.parametrize("verb", ["signal", "resume"])
def test_what_must_not_happen_twice_is_not_repeated(tmp_path: Path, verb: str) -> None:
    path = tmp_path / "s"

    def ask(client: Client) -> object:
        return client.signal("EXP-001", 2) if verb == "signal" else client.resume("EXP-001", by="ada", variables={})

    with edge(path, None, reply(b"{}")) as running, client_of(path) as client:
        with pytest.raises(ServerUnreachable, match="not known"):
            ask(client)
        assert len(running.requests) == 1


def test_what_must_not_happen_twice_never_uses_a_connection_that_may_be_stale(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with edge(path, reply(b"{}"), reply(b"{}"), reply(b"{}")) as running:
        client = Client(path)
        client.status()
        client.signal("EXP-001", 2)
        client.status()
        client.close()
    assert running.connections == 2


def test_a_server_is_started_when_none_listens(tmp_path: Path) -> None:
    path = tmp_path / "s"
    started: list[Edge] = []
    client = Client(path, start=lambda: started.append(Edge(path, [reply(b'{"pid":1}')])))
    assert client.server() == {"pid": 1}
    client.close()
    started[0].close()


def test_without_leave_to_start_one_an_absent_server_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachable):
        Client(tmp_path / "s").server()


def test_log_pieces_are_cut_as_the_header_says(tmp_path: Path) -> None:
    path = tmp_path / "s"
    segments = [{"stream": "stdout", "offset": 7, "size": 3}, {"stream": "stderr", "offset": 0, "size": 2}]
    header = json.dumps({"segments": segments, "stdout": 10, "stderr": 2, "is_over": True, "attempt": 1})
    with (
        edge(path, reply(b"\xff\x00ce!", headers=f"Lab-Log: {header}\r\n")) as running,
        client_of(path, "lab 1") as client,
    ):
        piece = client.logs("EXP 1/2", stdout=7, stderr=0, wait_s=1.5)
    assert piece.segments == [("stdout", 7, b"\xff\x00c"), ("stderr", 0, b"e!")]
    assert (piece.stdout, piece.stderr, piece.is_over, piece.attempt) == (10, 2, True, 1)
    target = running.requests[0].split(b" ")[1].decode()
    assert target == "/v1/labs/lab%201/experiments/EXP%201%2F2/logs?stdout=7&stderr=0&wait_s=1.5&limit_bytes=65536"
