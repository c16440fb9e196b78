import socket
from pathlib import Path

import pytest

from labrun.client.connection import Body, BrokenOff, Connection, NoAnswer, NotListening
from tests.client.edge import edge, reply


def test_two_requests_share_one_connection(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with edge(path, reply(b"one"), reply(b"two")) as running:
        connection = Connection(path)
        assert connection.exchange("GET", "/a").body == b"one"
        assert connection.exchange("POST", "/b", body=b"{}").body == b"two"
        assert connection.is_usable
        connection.close()
        assert running.connections == 1
    assert running.requests[1].startswith(b"POST /b HTTP/1.1\r\nHost: lab\r\n")
    assert running.requests[1].endswith(b"Content-Length: 2\r\n\r\n{}")


def test_what_is_too_long_to_be_held_is_sent_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with edge(path, reply(b"one"), reply(b"two")) as running:
        connection = Connection(path)
        assert connection.exchange("POST", "/", body=Body(6, lambda: iter([b"abc", b"def"]))).body == b"one"
        assert connection.exchange("POST", "/", body=b"x" * 3_000_000).body == b"two"
        connection.close()
    assert running.requests[0].endswith(b"Content-Length: 6\r\n\r\nabcdef")
    assert running.requests[1].endswith(b"Content-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)


def test_a_chunked_answer_with_extensions_and_trailers_is_put_together(tmp_path: Path) -> None:
    path = tmp_path / "s"
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n"
    )
    with edge(path, chunked, reply(b"next")):
        connection = Connection(path)
        assert connection.exchange("GET", "/").body == b"abc0123456789"
        assert connection.exchange("GET", "/").body == b"next"
        connection.close()


def test_an_answer_without_length_ends_with_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with edge(path, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"):
        connection = Connection(path)
        assert connection.exchange("GET", "/").body == b"all of it"
        assert not connection.is_usable


def test_header_names_are_lower_case_and_interim_answers_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with edge(path, b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b"x", headers="Lab-Log: {}\r\n")):
        connection = Connection(path)
        assert connection.exchange("GET", "/").headers["lab-log"] == "{}"
        connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nab",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
    ],
    ids=[
        "nothing",
        "short body",
        "short chunk",
        "not HTTP",
        "no number",
        "too long",
        "too long a chunk",
        "endless head",
    ],
)
def test_an_answer_that_is_not_whole_is_broken_off(tmp_path: Path, answer: bytes | None) -> None:
    path = tmp_path / "s"
    with edge(path, answer):
        connection = Connection(path)
        with pytest.raises(BrokenOff):
            connection.exchange("GET", "/")
        assert not connection.is_usable


def test_silence_is_told_from_a_broken_connection(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with edge(path, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"):
        connection = Connection(path)
        with pytest.raises(NoAnswer):
            connection.exchange("GET", "/", timeout_s=0.05)


def test_a_missing_and_a_stale_socket_are_both_nobody_listening(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(NotListening):
        Connection(path)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with pytest.raises(NotListening):
        Connection(path)


def test_a_socket_path_over_107_bytes_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 80) / ("e" * 80)
    deep.mkdir(parents=True)
    with edge(deep / "server.sock", reply(b"here")):
        connection = Connection(deep / "server.sock")
        assert connection.exchange("GET", "/").body == b"here"
        connection.close()
