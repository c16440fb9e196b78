"""Questions to the `git` command: nothing is written, nothing is configured, every question has a deadline.

A repository may name programs that git would start to answer: filters, a file monitor, differs, whatever fetches
missing objects. Repositories are unpacked and shared with their configuration, and a submit, let alone a dry run,
starts nothing of theirs. Filters from a person's own or the system's configuration (Git LFS) are his and stay.
"""

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
_SUBMODULE = b"160000 "


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
        self._filters_off: tuple[str, ...] | None = None

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
        said = self._ask(*words, "--", folder or ".", settings=self._without_filters())
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
        words = ("status", "--porcelain=v2", "-z", "--untracked-files=normal", "--", ".")
        return bool(self._ask(*words, settings=self._without_filters()))

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

    def _command(self, *words: str, top: Path | None = None) -> list[str]:
        settings = ("-c", "core.fsmonitor=false", "-c", "diff.suppressBlankEmpty=false")
        # Names are names, not patterns; only `check-ignore` cannot be told so, and takes them so by itself.
        literal = () if words[0] == "check-ignore" else ("--literal-pathspecs",)
        return [self._program, "--no-optional-locks", *literal, *settings, "-C", str(top or self._top), *words]

    def _without_filters(self) -> tuple[str, ...]:
        """Give the settings that turn off every filter this repository and its submodules bring along.

        `git status` looks into submodules with the settings it was given.

        Raises:
            GitSilent: A filter has a name that cannot be turned off.

        Source:
            gitattributes(5), "filter"; git's convert.c: an empty command is none.
        """
        if self._filters_off is None:
            off: list[str] = []
            for name in sorted(self._filters(self._top, set())):
                if "=" in name or "\n" in name:
                    raise GitSilent(f"the repository brings a filter named {name!r}")
                off += [
                    word for key in ("clean=", "process=", "required=false") for word in ("-c", f"filter.{name}.{key}")
                ]
            self._filters_off = tuple(off)
        return self._filters_off

    def _filters(self, top: Path, seen: set[Path]) -> set[str]:
        """Names of the filters in the configuration of one repository and of those in it."""
        found: set[str] = set()
        seen.add(top.resolve())
        words = ("config", "--show-scope", "-z", "--name-only", "--get-regexp", r"^filter\..")
        fields = self._ask(*words, fine=(0, 1), top=top).split(b"\0")
        for scope, key in zip(fields[::2], fields[1::2], strict=False):
            if scope in (b"local", b"worktree"):
                found.add(os.fsdecode(key).partition(".")[2].rpartition(".")[0])
        for entry in self._ask("ls-files", "-s", "-z", top=top).split(b"\0"):
            if entry.startswith(_SUBMODULE):
                below = top / os.fsdecode(entry.partition(b"\t")[2])
                if os.path.lexists(below / ".git") and below.resolve() not in seen:
                    found |= self._filters(below, seen)
        return found

    def _ask(
        self, *words: str, fine: Sequence[int] = (0,), settings: Sequence[str] = (), top: Path | None = None
    ) -> bytes:
        try:
            done = subprocess.run(
                self._command(*settings, *words, top=top),
                env=_surroundings(),
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
        settings: tuple[str, ...] = ("-c", f"core.bigFileThreshold={file_limit_bytes}", "-c", "diff.relative=false")
        settings += self._without_filters()
        with tempfile.TemporaryFile() as complaint:  # a pipe nobody reads would fill
            try:
                asked = subprocess.Popen(
                    self._command(*settings, "diff", *form, *place, "HEAD", "--", *names),
                    env=_surroundings(),
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


def _surroundings() -> dict[str, str]:
    """Our own variables, under which git fetches nothing: in a partial clone a question would reach for the network."""
    quiet = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    return dict(os.environ) | quiet  # noqa: TID251  handed on, not read


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
