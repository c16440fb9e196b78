"""A home under test: a real server process, a plain HTTP client of our own, and eyes on the outside.

Nothing here trusts labrun's own client: evidence is read from the ledger each script appends to,
from `/proc`, and from the folder with the standard library.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

SOURCE = Path(__file__).resolve().parents[2] / "src"
SERVE = (
    "import sys; from pathlib import Path; from labrun import bootstrap; sys.exit(bootstrap.serve(Path(sys.argv[1])))"
)

LEDGER_SCRIPT = """\
import os, subprocess, sys, time
ledger, name, seconds, code, lines = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
def note(word):
    fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, (word + " " + name + "\\n").encode())
    os.fsync(fd)
    os.close(fd)
note("start")
subprocess.Popen(["setsid", "sleep", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for i in range(lines):
    print(f"{name} line {i}", flush=True)
    time.sleep(seconds / max(lines, 1))
note("end")
sys.exit(code)
"""
"""Appends to an fsynced ledger at start and end, leaves a child in a session of its own behind."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        directory = os.open(self._path.parent, os.O_PATH)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.code = body.get("code")
        self.body = body


class LaboratoryUnderTest:
    """One home, one server process that may be killed and started again."""

    def __init__(
        self, home: Path, *, source: Path = SOURCE, settings: str = "", user: int | None = None, log: Path | None = None
    ) -> None:
        self.home = home
        self.source = source
        self.user = user
        self.server: subprocess.Popen[bytes] | None = None
        self.wrap: list[str] = []
        """Put before the server's command line."""
        self._settings = settings
        self.log = log if log is not None else home.parent / "server.err"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start the server process."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.source),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONFAULTHANDLER": "1",
            "HOME": str(self.home.parent),
        }
        if self._settings and not (self.home / "home.toml").exists():
            self._write_settings()
        with (self.log).open("ab") as log:
            self.server = subprocess.Popen(
                [*self.wrap, *self._as_user(), sys.executable, "-c", SERVE, str(self.home)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _as_user(self) -> list[str]:
        """Become an ordinary user, who may only read his way to an interpreter below somebody's closed home."""
        if self.user is None:
            return []
        caps = [
            "--inh-caps=-all,+dac_read_search",
            "--ambient-caps=-all,+dac_read_search",
            "--bounding-set=-all,+dac_read_search",
        ]
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", *caps]

    def _write_settings(self) -> None:
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from pathlib import Path; from labrun import bootstrap; bootstrap.init(Path(sys.argv[1]))",
                str(self.home),
            ],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(self.source)},
            check=True,
        )
        (self.home / "home.toml").write_text(self._settings)

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until the socket answers."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.call("GET", "/v1/server", timeout_s=5)
            except (OSError, http.client.HTTPException) as error:
                assert self.server is not None
                if self.server.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(
                        f"server did not come up ({self.server.poll()}): {error}\n{self.server_log()[-3000:]}"
                    ) from error
                time.sleep(0.005)
            else:
                return

    def server_log(self) -> str:
        """What the server said."""
        path = self.log
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self) -> None:
        """SIGKILL the server."""
        assert self.server is not None
        self.server.kill()
        self.server.wait()

    def stop(self) -> None:
        """End the server politely, then everything that still carries this home in its environment."""
        if self.server is not None and self.server.poll() is None:
            self.server.terminate()
            try:
                self.server.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.kill_processes()

    def kill_processes(self) -> None:
        """SIGKILL everything attempts have started."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        timeout_s: float = 30.0,
    ) -> Any:
        """One request; raises `Refused` for an error answer."""
        connection = UnixConnection(self.home / "server.sock", timeout_s)
        try:
            headers = {"Content-Type": "application/json"}
            if key is not None:
                headers["Idempotency-Key"] = key
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.headers.get("Lab-Log") is not None:
                return content, json.loads(answer.headers["Lab-Log"])
            parsed = json.loads(content) if content else None
            if answer.status >= 400:
                raise Refused(answer.status, parsed if isinstance(parsed, dict) else {"message": content})
            return parsed
        finally:
            connection.close()

    def call_stubbornly(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Any:
        """The same request until it is answered: what a good client does while servers die."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.call(method, path, body, key=key, timeout_s=10)
            except (OSError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def submit(self, *argv: str, stubborn: bool = False, **fields: object) -> dict[str, Any]:
        """Submit a program; returns the experiment."""
        name = fields.pop("name", None)
        variables = fields.pop("variables", {"PATH": os.environ["PATH"]})
        source = fields.pop("source", {"cwd": "/", "cwd_is_live": True})
        spec = {
            "target": {"kind": "program", "name": argv[0], "argv": list(argv)},
            "source": source,
            "name": name,
        } | fields
        call = self.call_stubbornly if stubborn else self.call
        key = uuid.uuid4().hex
        answer = call("POST", "/v1/labs/main/experiments", {"spec": spec, "variables": variables}, key=key)
        found: dict[str, Any] = answer["experiment"]
        return found

    def show(self, reference: str) -> dict[str, Any]:
        """Details of one experiment."""
        found: dict[str, Any] = self.call("GET", f"/v1/labs/main/experiments/{quote(reference, safe='')}")
        return found

    def wait_ended(self, reference: str, timeout_s: float = 30.0, *, sealed: bool = True) -> dict[str, Any]:
        """Wait until an experiment is over (and sealed), through restarts; returns it as lists show it."""
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self.call_stubbornly("GET", f"/v1/labs/main/experiments/{quote(reference, safe='')}")
            shown: dict[str, Any] = answer["experiment"]
            is_over = shown["status"] in ("succeeded", "failed", "cancelled")
            if is_over and (shown["is_sealed"] or not sealed or shown["folder"] is None):
                return shown
            if time.monotonic() > deadline:
                raise AssertionError(f"{reference} did not end: {shown}\n{self.server_log()[-3000:]}")
            time.sleep(0.02)

    def folder(self, experiment: Mapping[str, Any]) -> Path:
        """Where its files are."""
        return Path(experiment["folder"])

    def processes(self) -> list[int]:
        """Processes other than the server whose environment names this home: those of attempts."""
        needle = f"LAB_HOME={self.home}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environment = (entry / "environ").read_bytes()
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if needle in environment + b"\0" and state != "Z":
                    found.append(int(entry.name))
        return found

    def live_attempts(self) -> int:
        """Attempts between start and exit, by their control files."""
        names = {path.name for path in (self.home / "control").iterdir()}
        return sum(name.endswith(".started") and name[: -len("started")] + "exit" not in names for name in names)


def journal(path: Path) -> Iterator[dict[str, Any]]:
    """Read a checksummed journal with the standard library alone, checking every line."""
    for line in path.read_bytes().splitlines():
        body, _, tail = line.rpartition(b',"crc":')
        assert tail == b'"%08x"}' % zlib.crc32(body), f"bad checksum in {path}: {line[:80]!r}"
        yield json.loads(line)


def broken_build(tmp_path: Path, *changes: tuple[str, str, str]) -> Path:
    """Copy the sources and break them: (file below `labrun/`, pattern, replacement); each must match."""
    copy = tmp_path / "broken" / "src"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, pattern, replacement in changes:
        path = copy / "labrun" / name
        text, count = re.subn(pattern, replacement, path.read_text())
        assert count, f"{pattern!r} is not in {name}: the broken build would be whole"
        path.write_text(text)
    return copy
