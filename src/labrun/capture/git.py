"""Questions to the `git` command: nothing is written, nothing is configured, every question has a deadline."""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ANSWER_LIMIT_S = 30.0
_ARGUMENTS_BYTES = 100_000
"""Bytes of file names given to one process; the kernel allows some megabytes."""
_HEADER = b"diff --git "


class GitSilent(Exception):
    """Git did not say what was asked; the text says why."""


class Changed(NamedTuple):
    """One tracked file that differs from the commit."""

    name: str
    """Relative to the work tree."""
    patch: bytes | None
    """None when it is not text, or larger than asked for."""
    is_whole: bool = True
    """False: the answer was cut before it."""


class Git:
    """The `git` command at one work tree."""

    def __init__(self, top: Path, program: str, answer_limit_s: float = ANSWER_LIMIT_S) -> None:
        self._top = top
        self._program = program
        self._answer_limit_s = answer_limit_s

    @classmethod
    def at(cls, top: Path) -> "Git | None":
        """Find the command; None when it is not on PATH."""
        program = shutil.which("git")
        return cls(top, program) if program is not None else None

    def knows(self, folder: str) -> bool:
        """Whether the repository has anything to do with a folder: tracks a file in it, or does not ignore it."""
        is_tracked = bool(self._ask("ls-files", "-z", "--", folder))
        return is_tracked or not self._ask("check-ignore", "--", f"./{folder}", fine=(0, 1))

    def status(self, folder: str = "") -> tuple[list[str], list[str]]:
        """Give the names of what differs below a folder: tracked files, and files git does not track.

        Source:
            git-status(1), "Porcelain Format Version 2".
        """
        words = ["status", "--porcelain=v2", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=none"]
        said = self._ask(*words, "--", folder or ".")
        changed: list[str] = []
        untracked: list[str] = []
        for record in said.split(b"\0"):
            # `1 XY sub mH mI mW hH hI path`, `u XY sub m1 m2 m3 mW h1 h2 h3 path`, `? path`
            skipped = {b"1": 8, b"u": 10, b"?": 1}.get(record[:1])
            if skipped is not None:
                name = os.fsdecode(record.split(b" ", skipped)[-1])
                (untracked if record[:1] == b"?" else changed).append(name)
        return changed, untracked

    def is_dirty(self) -> bool:
        """Whether anything below the work tree differs from the commit, ignored files aside."""
        return bool(self._ask("status", "--porcelain=v2", "-z", "--untracked-files=normal", "--", "."))

    def changes(self, names: Sequence[str], file_limit_bytes: int, limit_bytes: int) -> Iterator[Changed]:
        """Compare files with the commit; names that turn out not to differ are left out.

        Args:
            names: Tracked files, relative to the work tree.
            file_limit_bytes: Larger files are told, not shown.
            limit_bytes: The answer is cut after so much.
        """
        for group in _groups(names):
            said, is_cut = self._read_limited(limit_bytes, file_limit_bytes, group)
            listed, _, patch = said.partition(b"\0\0")
            pieces = _pieces(patch)
            limit_bytes -= len(patch)
            if is_cut and pieces:
                pieces.pop()  # torn
            for name, count in _listed(listed):
                own, pieces = pieces[:count], pieces[count:]
                if len(own) < count:
                    yield Changed(name, None, is_whole=False)
                elif any(b"\nBinary files " in piece for piece in own):
                    yield Changed(name, None)
                else:
                    yield Changed(name, b"".join(own))

    def _command(self, *words: str) -> list[str]:
        settings = ("-c", "core.fsmonitor=false", "-c", "diff.suppressBlankEmpty=false")
        # Names are names, not patterns; only `check-ignore` cannot be told so, and takes them so by itself.
        literal = () if words[0] == "check-ignore" else ("--literal-pathspecs",)
        return [self._program, "--no-optional-locks", *literal, *settings, "-C", str(self._top), *words]

    def _ask(self, *words: str, fine: Sequence[int] = (0,)) -> bytes:
        try:
            done = subprocess.run(
                self._command(*words),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=self._answer_limit_s,
            )
        except subprocess.TimeoutExpired as error:
            raise GitSilent(f"no answer within {self._answer_limit_s:.0f} s") from error
        except OSError as error:
            raise GitSilent(error.strerror or str(error)) from error
        if done.returncode not in fine:
            raise GitSilent(_complaint(done.stderr, done.returncode))
        return done.stdout

    def _read_limited(self, limit_bytes: int, file_limit_bytes: int, names: Sequence[str]) -> tuple[bytes, bool]:
        """Read one `git diff` up to a limit; tells whether there was more."""
        form = ("--raw", "-p", "-z", "-U3", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color")
        place = ("--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "--ignore-submodules=none")
        # Git takes what is larger than this for binary, and then reads none of it.
        settings = ("-c", f"core.bigFileThreshold={file_limit_bytes}", "-c", "diff.relative=false")
        with tempfile.TemporaryFile() as complaint:  # a pipe nobody reads would fill
            try:
                asked = subprocess.Popen(
                    self._command(*settings, "diff", *form, *place, "HEAD", "--", *names),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=complaint,
                )
            except OSError as error:
                raise GitSilent(error.strerror or str(error)) from error
            deadline = threading.Timer(self._answer_limit_s, asked.kill)
            deadline.start()
            with asked:
                assert asked.stdout is not None
                said = asked.stdout.read(max(limit_bytes, 0) + sum(len(os.fsencode(name)) + 100 for name in names))
                is_cut = asked.stdout.read(1) != b""
                if is_cut:
                    asked.kill()
                asked.wait()
                is_late = not deadline.is_alive()
                deadline.cancel()
            complaint.seek(0)
            if is_late:
                raise GitSilent(f"no answer within {self._answer_limit_s:.0f} s")
            if asked.returncode != 0 and not is_cut:
                raise GitSilent(_complaint(complaint.read(), asked.returncode))
        return said, is_cut


def _complaint(said: bytes, status: int) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else f"git ended with status {status}"


def _groups(names: Sequence[str]) -> Iterator[list[str]]:
    """Cut a list of names into pieces that fit on a command line."""
    group: list[str] = []
    size = 0
    for name in names:
        size += len(os.fsencode(name)) + 1
        if group and size > _ARGUMENTS_BYTES:
            yield group
            group, size = [], 0
        group.append(name)
    if group:
        yield group


def _listed(listed: bytes) -> Iterator[tuple[str, int]]:
    """Read the raw records in front of a patch: name, and how many sections of the patch are about it.

    Source:
        git-diff(1), "Raw output format"; a change of type is shown as a removal and a creation.
    """
    fields = listed.split(b"\0")
    for what, name in zip(fields[::2], fields[1::2], strict=False):
        status = what[-1:]
        if status != b"U":
            yield os.fsdecode(name), 2 if status == b"T" else 1


def _pieces(patch: bytes) -> list[bytes]:
    """Cut a patch into its sections. Lines of content begin with a sign, so none looks like a header."""
    found = [_HEADER + piece for piece in (b"\n" + patch).split(b"\n" + _HEADER)[1:]]
    return [*(piece + b"\n" for piece in found[:-1]), *found[-1:]]
