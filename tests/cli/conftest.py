"""A person at a shell: a project folder, a home of their own, and `lab` on PATH."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_until

LAB = [sys.executable, "-m", "labrun.cli.main"]


class Shell:
    """Runs `lab` as a process, as people do."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.project = folder / "project"
        self.project.mkdir()
        (self.project / "pyproject.toml").touch()
        self.variables = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "LAB_HOME": str(self.home),
            "LANG": "C.UTF-8",
        }

    def write(self, name: str, text: str) -> str:
        """Put a script into the project."""
        (self.project / name).write_text(text)
        return name

    def lab(
        self, *args: str | bytes, status: int = 0, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end and check its exit status."""
        done = subprocess.run(
            [*LAB, *args],
            cwd=cwd or self.project,
            env=self.variables | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
            check=False,
        )
        told = f"exit status {done.returncode}\nstdout: {done.stdout[-2000:]}\nstderr: {done.stderr[-2000:]}"
        assert done.returncode == status, told
        return done

    def json(self, *args: str, status: int = 0) -> Any:
        """Run one command with `--json` right after its name; return the document."""
        words = 2 if args[0] == "server" else 1
        return json.loads(self.lab(*args[:words], "--json", *args[words:], status=status).stdout)

    def start(self, *args: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command and return at once; stdout and stderr are pipes unless given."""
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # a suite that runs under nohup has hang-ups ignored: a command a person starts has not
        plain = ["env", "--default-signal=HUP"]
        return subprocess.Popen([*plain, *LAB, *args], cwd=self.project, env=self.variables, **(pipes | options))

    def queue(self, *args: str) -> str:
        """Queue something; return its label."""
        return self.lab("queue", "--quiet", *args).stdout.strip()

    def experiment(self, reference: str) -> dict[str, Any]:
        """One experiment as the API shows it."""
        found: dict[str, Any] = self.json("info", reference)["experiment"]
        return found

    def wait_step(self, reference: str, step: str) -> dict[str, Any]:
        """Wait until an experiment is at this step."""
        wait_until(lambda: self.experiment(reference)["step"] == step, 30, f"{reference} is {step}")
        return self.experiment(reference)

    def server_pid(self) -> int:
        """Process of the server."""
        return int(self.json("server", "status")["pid"])

    def end(self) -> None:
        """Stop what is left: the server, then every process that carries this home."""
        subprocess.run([*LAB, "server", "stop"], env=self.variables, capture_output=True, check=False, timeout=60)
        needle = f"LAB_HOME={self.home}\0".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if needle in (entry / "environ").read_bytes():
                        os.kill(int(entry.name), signal.SIGKILL)
                except OSError:
                    continue


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A fresh home and project for one test."""
    found = Shell(tmp_path)
    yield found
    found.end()


@pytest.fixture
def served(shell: Shell) -> Shell:
    """The same, for tests whose commands start a server."""
    return shell


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """One home for all tests of a file that only look, or add something of their own."""
    found = Shell(tmp_path_factory.mktemp("shared"))
    found.lab("init")
    (found.home / "home.toml").write_text("slots = 4\n")
    found.lab("serve", "--detach")  # what the server has to say is said here, once
    yield found
    found.end()
