"""The API, one method per endpoint; answers are plain dicts as the server's JSON says them.

Errors arrive as the class the server raised. A server that restarts in between is waited for, or
started, for about ten seconds; what must not happen twice carries a key or is not repeated.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labrun.client.connection import Body, BrokenOff, Connection, NoAnswer, NotListening, Reply

RETRY_S = 10.0
"""How long a request outlasts a server that is away."""
_PAUSE_S = 0.02
_ANSWER_S = 60.0
"""Longest silence on an ordinary request; the first snapshot of a large folder takes a while."""

Json = dict[str, Any]
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str) -> str:
    """Percent-encode one piece of a target.

    >>> quote("latest~2"), quote("a b/ü")
    ('latest~2', 'a%20b%2F%C3%BC')

    Source:
        RFC 3986, sections 2.1 and 2.3.
    """
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in raw)


class Piece:
    """What one look at the logs brought."""

    __slots__ = ("attempt", "body", "gaps", "is_over", "segments", "stderr", "stdout", "times")

    def __init__(self, header: Json, body: bytes) -> None:
        self.body = body
        self.stdout: int = header["stdout"]
        self.stderr: int = header["stderr"]
        self.is_over: bool = header["is_over"]
        self.attempt: int = header["attempt"]
        self.gaps: list[Json] = header.get("gaps", [])
        """What the quota cut out before a segment: stream, offset, size."""
        self.times: list[tuple[str, int, float]] = header.get("times", [])
        """Stream, end of a part, when it was written; only if asked for."""
        self.segments: list[tuple[str, int, bytes]] = []
        """Stream, offset in that stream, bytes; in order."""
        at = 0
        for segment in header["segments"]:
            size = segment["size"]
            self.segments.append((segment["stream"], segment["offset"], body[at : at + size]))
            at += size


class Client:
    """Speaks to the server of one home about one lab."""

    is_remote = False
    """Whether paths here are not paths there."""

    def __init__(self, socket: Path, lab: str = "main", *, start: Callable[[], None] | None = None) -> None:
        """Remember the address; nothing is opened yet.

        Args:
            socket: The home's `server.sock`.
            lab: The lab that names and `latest` refer to.
            start: Starts a server when none listens; None means that is an error.
        """
        self._path = socket
        self.lab = lab
        self._lab = quote(lab)
        self._start = start
        self._connection: Connection | None = None

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def submit(self, request: Json, key: str) -> Json:
        """Hand in one experiment; the same key never makes a second one."""
        return self._post(f"/v1/labs/{self._lab}/experiments", request, key=key)

    def survey(self, root: str) -> Json:
        """What of a source root would not be frozen, and what was answered about it before."""
        return self._post("/v1/survey", {"root": root}, may_repeat=True)

    def experiments(self, *, limit: int = 20, before: str | None = None, **search: str | Sequence[str] | None) -> Json:
        """One page of the lab's experiments, newest first.

        Args:
            limit: Most experiments of the page.
            before: Label from the page before.
            search: `status name group user since sort`, and lists `tag word metric`; everything given must hold.
        """
        query: dict[str, object] = {"limit": limit, "before": before, **search}
        return self._get(f"/v1/labs/{self._lab}/experiments{_query(query)}")

    def experiment(self, reference: str) -> Json:
        """Everything about one experiment."""
        return self._get(self._of(reference))

    def logs(
        self,
        reference: str,
        *,
        stdout: int | None = None,
        stderr: int | None = None,
        attempt: int | None = None,
        wait_s: float = 0.0,
        limit_bytes: int = 65536,
        tail_bytes: int | None = None,
        tail_lines: int | None = None,
        since: float | None = None,
        has_times: bool = False,
    ) -> Piece:
        """Bytes of each stream that has an offset; waits up to `wait_s` for the first."""
        query = {
            "stdout": stdout,
            "stderr": stderr,
            "attempt": attempt,
            "wait_s": wait_s or None,
            "limit_bytes": limit_bytes,
            "tail_bytes": tail_bytes,
            "tail_lines": tail_lines,
            "since": since,
            "times": "true" if has_times else None,
        }
        reply = self._call("GET", self._of(reference) + "/logs" + _query(query), timeout_s=wait_s + _ANSWER_S)
        return Piece(json.loads(reply.headers["lab-log"]), reply.body)

    def metrics(
        self,
        reference: str,
        *,
        names: Sequence[str] = (),
        after: str | None = None,
        attempt: int | None = None,
        wait_s: float = 0.0,
        limit_bytes: int = 2**20,
    ) -> Json:
        """Points in the order they were written, from a cursor on; waits up to `wait_s` for the first."""
        query = {"after": after, "attempt": attempt, "wait_s": wait_s or None, "limit_bytes": limit_bytes}
        target = self._of(reference) + "/metrics" + _query(query) + "".join(f"&names={quote(name)}" for name in names)
        return _object(self._call("GET", target, timeout_s=wait_s + _ANSWER_S))

    def metric_summary(self, reference: str, *, names: Sequence[str] = (), attempt: int | None = None) -> Json:
        """Last, best, extremes, counts and a small curve of each metric, or of those named."""
        words = [f"names={quote(name)}" for name in names] + ([f"attempt={attempt}"] if attempt is not None else [])
        return self._get(self._of(reference) + "/metrics/summary" + ("?" + "&".join(words) if words else ""))

    def events(self, reference: str, *, after: int = 0, wait_s: float = 0.0) -> Json:
        """The journal from a line on."""
        target = self._of(reference) + "/events" + _query({"after": after, "wait_s": wait_s or None})
        return _object(self._call("GET", target, timeout_s=wait_s + _ANSWER_S))

    def cancel(self, reference: str, *, by: str, is_urgent: bool = False) -> Json:
        """Ask an experiment to stop; durable when this returns. May be repeated."""
        return self._post(self._of(reference) + "/cancel", {"by": by, "is_urgent": is_urgent}, may_repeat=True)

    def signal(self, reference: str, number: int) -> Json:
        """Pass a signal to a running script's process group."""
        return self._post(self._of(reference) + "/signal", {"signal": number})

    def say(self, reference: str, author: str, remarks: Sequence[Json]) -> Json:
        """Note something of an experiment; durable when this returns."""
        return self._post(self._of(reference) + "/notes", {"author": author, "remarks": list(remarks)})

    def notes(self, reference: str) -> Json:
        """What people said of an experiment."""
        return self._get(self._of(reference) + "/notes")

    def type(self, reference: str, keys: Json) -> Json:
        """Type into an experiment's terminal; bytes are counted, so it may be repeated."""
        return self._post(self._of(reference) + "/keys", keys, may_repeat=True)

    def resume(self, reference: str, *, by: str, variables: Mapping[str, str]) -> Json:
        """Let an ended experiment wait for its next attempt."""
        return self._post(self._of(reference) + "/resume", {"by": by, "variables": dict(variables)})

    def rerun(self, reference: str, request: Json, key: str) -> Json:
        """Make a new experiment from an old one; the same key never makes a second one."""
        return self._post(self._of(reference) + "/rerun", request, key=key)

    def description(self, reference: str) -> Json:
        """An experiment as a person would write it."""
        return self._get(self._of(reference) + "/description")

    def delete(self, reference: str, *, by: str) -> Json:
        """Move an experiment that is over to the trash."""
        return self._post(self._of(reference) + "/delete", {"by": by})

    def undelete(self, reference: str, *, by: str) -> Json:
        """Bring a deleted experiment back."""
        return self._post(self._of(reference) + "/undelete", {"by": by})

    def trash(self) -> Json:
        """What was deleted in this lab and can be brought back."""
        return self._get(f"/v1/labs/{self._lab}/trash")

    def purge(self, *, older_than_s: float, by: str, is_dry: bool) -> Json:
        """Remove for good what has been in the trash for long; may be repeated."""
        body = {"older_than_s": older_than_s, "by": by, "is_dry": is_dry}
        return self._post(f"/v1/labs/{self._lab}/purge", body, timeout_s=3600.0, may_repeat=True)

    def restore(self, reference: str, destination: str) -> Json:
        """Write an experiment's frozen code into a folder that is empty or new."""
        target = self._of(reference) + "/restore"
        return self._post(target, {"destination": destination}, timeout_s=3600.0)

    def files(self, reference: str) -> Json:
        """Every file in an experiment's folder."""
        return self._get(self._of(reference) + "/files")

    def file(self, reference: str, path: str, *, offset: int, limit_bytes: int) -> bytes:
        """A piece of one of them."""
        query = _query({"path": path, "offset": offset, "limit_bytes": limit_bytes})
        return self._call("GET", self._of(reference) + "/file" + query).body

    def status(self, since: str | None = None) -> Json:
        """One screen: what runs, what waits and why, what ended last, more of it when more ended since a moment."""
        return self._get(f"/v1/labs/{self._lab}/status{_query({'since': since})}")

    def server(self) -> Json:
        """Who serves this home."""
        return self._get("/v1/server")

    def doctor(self) -> Json:
        """What the server finds when it looks at its home and host."""
        return self._get("/v1/doctor")

    def reindex(self) -> Json:
        """Rebuild the index from the folders alone; may take long."""
        return self._post("/v1/reindex", {}, timeout_s=3600.0, may_repeat=True)

    def stop_server(self) -> Json:
        """Let the server leave; what runs, runs on."""
        return self._post("/v1/server/stop", {})

    def _of(self, reference: str) -> str:
        return f"/v1/labs/{self._lab}/experiments/{quote(reference)}"

    def _get(self, target: str) -> Json:
        return _object(self._call("GET", target))

    def _post(
        self,
        target: str,
        body: Json,
        *,
        key: str | None = None,
        timeout_s: float = _ANSWER_S,
        may_repeat: bool = False,
    ) -> Json:
        raw = json.dumps(body, separators=(",", ":")).encode("ascii")
        headers = {"Idempotency-Key": key} if key is not None else {}
        is_repeatable = may_repeat or key is not None
        reply = self._call("POST", target, raw, headers, timeout_s=timeout_s, is_repeatable=is_repeatable)
        return _object(reply)

    def _call(
        self,
        method: str,
        target: str,
        body: bytes | Body | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = _ANSWER_S,
        is_repeatable: bool = True,
    ) -> Reply:
        deadline: float | None = None
        while True:
            try:
                reply = self._once(method, target, body, headers, timeout_s=timeout_s, is_repeatable=is_repeatable)
            except NotListening as error:
                if self._start is None:
                    raise self._unreachable(str(error)) from error
                why: Exception = error
            except BrokenOff as error:
                if not is_repeatable:
                    raise self._unreachable("it broke off; whether the request was carried out is not known") from error
                why = error
            except NoAnswer as error:
                raise self._unreachable(str(error)) from error
            else:
                if (stopping := self._refused(reply)) is None:
                    return reply
                why = stopping
            now = time.monotonic()
            deadline = deadline if deadline is not None else now + RETRY_S
            if now > deadline:
                raise self._unreachable(str(why)) from why
            if isinstance(why, NotListening) and self._start is not None:
                self._start()
            else:
                time.sleep(_PAUSE_S)

    def _refused(self, reply: Reply) -> Exception | None:
        """Raise what an answer refuses; give back what to wait for when the server is about to leave."""
        if reply.status < 400:
            return None
        problem: Exception = _problem(reply)
        if getattr(problem, "code", None) != "server_stopping":
            raise problem
        self.close()
        return problem

    def _connect(self) -> Connection:
        return Connection(self._path)

    def _once(
        self,
        method: str,
        target: str,
        body: bytes | Body | None,
        headers: Mapping[str, str] | None,
        *,
        timeout_s: float,
        is_repeatable: bool,
        kind: str = "application/json",
    ) -> Reply:
        # a kept connection may have been closed by the server just now: then nobody can tell whether the
        # request arrived, so what must not be repeated goes over a fresh one
        if self._connection is not None and not (is_repeatable and self._connection.is_usable):
            self.close()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection.exchange(method, target, body=body, headers=headers, timeout_s=timeout_s, kind=kind)

    def _unreachable(self, why: str) -> Exception:
        from labrun.core.errors import ServerUnreachable  # start-up time: only when something failed

        return ServerUnreachable(str(self._path), why)


def _query(values: Mapping[str, object]) -> str:
    pairs = []
    for name, value in values.items():
        several = value if isinstance(value, list | tuple) else [] if value is None else [value]
        pairs += [f"{name}={quote(str(each))}" for each in several]
    return "?" + "&".join(pairs) if pairs else ""


def _object(reply: Reply) -> Json:
    found: Json = json.loads(reply.body) if reply.body else {}
    return found


def _problem(reply: Reply) -> Any:
    from labrun.core.errors import revive  # start-up time: only when something failed

    try:
        told = json.loads(reply.body)
        return revive(told["code"], told["message"], told.get("hint"), told.get("details"))
    except (ValueError, KeyError, TypeError):
        text = reply.body[:200].decode("utf-8", "replace")
        return revive("error", f"the server answered {reply.status}: {text}", None)
