"""What the words after the options mean: a script, a module or a program. Refuses what cannot be run."""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from labrun.capture.caller import is_executable, which
from labrun.core.errors import BadValue, NoSuchScript, NotRunnable, TooBig

ARGUMENT_LIMIT_BYTES = 131071
"""Longest single argument, without its terminating zero.

Source:
    execve(2), MAX_ARG_STRLEN: 32 pages of 4 KiB.
"""
_TOTAL_LIMIT_BYTES = 6 * 2**20  # execve(2): a quarter of the stack limit, at most 6 MiB
_RESERVED_BYTES = 16 * 1024  # for `LAB_*` and what the supervisor adds
_SNIFF_BYTES = 8192


class Target(NamedTuple):
    """One thing to run."""

    kind: str
    """`script`, `module` or `program`, as the API calls them."""
    name: str
    """As it was typed."""
    word: str
    """The first word after the interpreter (for a program: the first of all) as it will be executed."""
    arguments: tuple[str, ...]
    """Everything after it, verbatim."""
    file: Path | None
    """The file behind it, absolute; None for a module, or a program found on PATH."""
    python: Path | None
    """What runs a script or module."""


def recognise(
    words: Sequence[str],
    *,
    module: str | None,
    is_program: bool,
    cwd: Path,
    path: str | None,
    python: Callable[[], Path],
    is_elsewhere: bool = False,
) -> Target:
    """Say what is to be run.

    A first word that ends in `.py`, or names a text file with a Python `#!` line that may not be
    executed, is a script. `-m` introduces a module, `--` any program. An executable file without
    `--` is run as a program: whoever may execute it means that.

    Args:
        words: The words after our options, verbatim.
        module: From `-m`.
        is_program: The words came after `--`.
        cwd: The caller's directory.
        path: PATH of the experiment; decides which program a bare name is.
        python: Finds the interpreter of a script or module.
        is_elsewhere: It runs on another machine, whose programs cannot be looked at from here.

    Raises:
        RequestError: There is nothing there, or nothing that can be run.
    """
    _check_words([module, *words] if module is not None else words)
    if module is not None:
        if not module:
            raise BadValue("-m", module, "a module's name")
        return Target("module", module, module, tuple(words), None, python())
    if not words:
        raise BadValue("command", "", "a script, `-m module`, or `--` and a program", hint="as in `lab run train.py`")
    first, rest = words[0], tuple(words[1:])
    if is_program:
        is_theirs = is_elsewhere and ("/" not in first or first.startswith("/"))
        return Target("program", first, first, rest, None if is_theirs else _find_program(first, cwd, path), None)
    file = cwd / first
    head = _look_at(first, file)
    if first.endswith(".py") or (not is_executable(file) and _is_python_script(head)):
        if b"\0" in head:
            raise NotRunnable(first, "it is not text", "is this the right file?")
        return Target("script", first, first, rest, file, python())
    if is_executable(file):
        return Target("program", first, first if "/" in first else f"./{first}", rest, file, None)
    if b"\0" in head:
        raise NotRunnable(first, "it is neither text nor executable", "is this the right file?")
    raise NotRunnable(
        first,
        "it is not executable and no Python script (no `.py`, no `#!` line with python)",
        f"`chmod +x {first}`, or name what runs it: `lab run -- sh {first}`",
    )


def check_size(argv: Sequence[str], variables: Mapping[str, str]) -> None:
    """Refuse a command line the kernel would refuse, before anything is sent.

    Raises:
        TooBig: One argument, one variable or all together are over the kernel's limits.
    """
    for position, word in enumerate(argv):
        size = len(word.encode())
        if size > ARGUMENT_LIMIT_BYTES:
            raise TooBig(
                f"argument {position} (it begins with `{word[:24]}`)",
                size,
                ARGUMENT_LIMIT_BYTES,
                "write it into a file and pass the file's name",
            )
    for name, value in variables.items():
        size = len(name.encode()) + len(value.encode()) + 1
        if size > ARGUMENT_LIMIT_BYTES:
            raise TooBig(f"variable `{name}`", size, ARGUMENT_LIMIT_BYTES, f"unset it: `env -u {name} lab run …`")
    total = sum(len(word.encode()) + 9 for word in argv)
    total += sum(len(name.encode()) + len(value.encode()) + 10 for name, value in variables.items())
    limit = min(os.sysconf("SC_ARG_MAX"), _TOTAL_LIMIT_BYTES) - _RESERVED_BYTES
    if total > limit:
        raise TooBig("the command line with its environment", total, limit, "pass long lists in a file")


def _check_words(words: Sequence[str]) -> None:
    for position, word in enumerate(words):
        if "\0" in word:
            raise BadValue(f"argument {position}", word, "text without NUL")
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            raise BadValue(f"argument {position}", word, "UTF-8 text (records are text; rename the file)") from None


def _look_at(name: str, file: Path) -> bytes:
    """Read the first bytes of a script.

    Raises:
        NoSuchScript: It is not there, a directory, or no file at all.
        NotRunnable: It may not be read.
    """
    if name == "-":
        raise NoSuchScript(name, "a script cannot come from standard input", "write it to a file")
    try:
        if file.is_dir():
            raise NoSuchScript(name, "it is a directory", "name the script in it, or `-m` and the package")
        if file.exists() and not file.is_file():
            raise NoSuchScript(name, "it is no regular file", "name a script")
        with file.open("rb") as stream:
            return stream.read(_SNIFF_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        hint = "check the path"
        if "/" not in name and not name.endswith(".py"):
            hint = f"a program on PATH comes after `--`: `lab run -- {name}`"
        raise NoSuchScript(name, "there is no such file", hint) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise NoSuchScript(f"{name[:60]}…", "no file has a name that long", "check the path") from None
        if is_executable(file):
            return b""  # may be executed though not read
        raise NotRunnable(name, error.strerror or str(error), "check who may read it: `ls -l`") from error


def _is_python_script(head: bytes) -> bool:
    first = head.partition(b"\n")[0]
    return first.startswith(b"#!") and b"python" in first and b"\0" not in head


def _find_program(name: str, cwd: Path, path: str | None) -> Path | None:
    if "/" not in name:
        if not name or which(name, path, cwd) is None:
            raise NoSuchScript(name, "no such program on PATH", "check the spelling, or give its path")
        return None
    file = cwd / name
    try:
        if file.is_dir():
            raise NoSuchScript(name, "it is a directory", "name a program in it")
        if not file.exists():
            raise NoSuchScript(name, "there is no such file", "check the path")
    except OSError as error:
        raise NoSuchScript(f"{name[:60]}", error.strerror or str(error), "check the path") from error
    if not is_executable(file):
        raise NotRunnable(name, "it is not executable", f"`chmod +x {name}`, or name what runs it: `-- sh {name}`")
    return file
