"""The folder of one experiment: where everything it is and did lies.

labs/<lab>/<YYYY-MM>/<LABEL-slug>/
    README.md  run_manifest.json  events.jsonl  notes.jsonl  submitted/  work/  inputs/  staged/  outputs/
    attempts/<n>/  order.json  started  exit.json  seal.json
                   stdout.log  stderr.log  log.idx  usage.jsonl  metrics.jsonl
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

CREATING = ".creating-"
"""Begins the name of a folder that is still being made."""


@dataclass(frozen=True)
class AttemptFolder:
    """What one attempt leaves as evidence."""

    path: Path

    @property
    def order(self) -> Path:
        """What the supervisor was told."""
        return self.path / "order.json"

    @property
    def started(self) -> Path:
        """The supervisor's start marker."""
        return self.path / "started"

    @property
    def exit(self) -> Path:
        """How it ended."""
        return self.path / "exit.json"

    @property
    def stdout(self) -> Path:
        """Output, written by the command itself."""
        return self.path / "stdout.log"

    @property
    def stderr(self) -> Path:
        """Error output, written by the command itself."""
        return self.path / "stderr.log"

    @property
    def log_index(self) -> Path:
        """When how much had been written."""
        return self.path / "log.idx"

    @property
    def usage(self) -> Path:
        """What it used, every few seconds."""
        return self.path / "usage.jsonl"

    @property
    def metrics(self) -> Path:
        """What it measured."""
        return self.path / "metrics.jsonl"

    @property
    def seal(self) -> Path:
        """Hashes of all of these."""
        return self.path / "seal.json"

    def create(self) -> "AttemptFolder":
        """Make it with empty logs, so that followers have something to watch; what is there stays."""
        self.path.mkdir(parents=True, exist_ok=True)
        for log in (self.stdout, self.stderr):
            os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
        return self


@dataclass(frozen=True)
class Folder:
    """Where everything about one experiment lies."""

    path: Path

    @property
    def readme(self) -> Path:
        """What ran, in words (a view)."""
        return self.path / "README.md"

    @property
    def manifest(self) -> Path:
        """Everything in one file (a view)."""
        return self.path / "run_manifest.json"

    @property
    def events(self) -> Path:
        """The journal."""
        return self.path / "events.jsonl"

    @property
    def notes(self) -> Path:
        """Commentary."""
        return self.path / "notes.jsonl"

    @property
    def work(self) -> Path:
        """The working copy the command runs in."""
        return self.path / "work"

    @property
    def submitted(self) -> Path:
        """What was submitted beside the code: environment, packages, lock files, configuration, stdin."""
        return self.path / "submitted"

    @property
    def inputs(self) -> Path:
        """`$LAB_INPUT_PATH`: a link to each declared input."""
        return self.path / "inputs"

    @property
    def staged(self) -> Path:
        """Copies of an earlier experiment's files, made before the first start."""
        return self.path / "staged"

    @property
    def outputs(self) -> Path:
        """`$LAB_OUTPUT_PATH`."""
        return self.path / "outputs"

    @property
    def attempts(self) -> Path:
        """One folder per attempt."""
        return self.path / "attempts"

    @property
    def month(self) -> Path:
        """The folder of the month it was queued in."""
        return self.path.parent

    @property
    def lab(self) -> Path:
        """The lab's folder, with its chain."""
        return self.path.parent.parent

    @property
    def home(self) -> Path:
        """The home it belongs to."""
        return self.path.parents[3]

    @property
    def relative(self) -> str:
        """Its path relative to the home, as records name it."""
        return "/".join(self.path.parts[-4:])

    def attempt(self, number: int) -> AttemptFolder:
        """One attempt's folder, numbered from 1."""
        return AttemptFolder(self.attempts / str(number))

    def numbers(self) -> list[int]:
        """Attempts that have a folder, in order."""
        try:
            names = os.listdir(self.attempts)  # noqa: PTH208  names only
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def create(self) -> "Folder":
        """Make it whole or not at all: under a temporary name, then renamed. One that is there is taken as it is.

        Raises:
            OSError: The disk does not take it, or something else lies there.
        """
        if self.path.is_dir():
            self._fill(self.path)
            return self
        # the same name every time: what a crash left half-made is taken up again
        temporary = self.path.with_name(CREATING + self.path.name)
        self._fill(temporary)
        try:
            temporary.rename(self.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self._fill(self.path)
        return self

    @staticmethod
    def _fill(path: Path) -> None:
        for name in ("attempts", "work", "outputs"):
            (path / name).mkdir(parents=True, exist_ok=True)
