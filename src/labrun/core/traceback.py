"""The error that began it: read from what a program printed, the first of a chain rather than the last line.

Source:
    Python's `traceback` module: the header, "During handling of the above exception" and "The above
    exception was the direct cause" between the parts of a chain, earliest first; PEP 654 for groups.
"""

import re

from msgspec import Struct

HEADER = "Traceback (most recent call last):"
_LINKS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_FRAME = re.compile(r'^\s*File "(?P<file>[^"\n]*)", line (?P<line>\d+)(?:, in (?P<where>.*))?$')
_RAISED = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)(?::\s?(?P<message>.*))?$")
_PREFIX = re.compile(r"^(?:\[?(?:rank|Rank)?\s?\d+\]?:\s?|\[[^\]\n]{1,40}\]\s|\(\S{1,60} pid=\d+[^)]*\)\s?|\s*\|\s?)")
"""What launchers of many processes put before each line: torchrun, mpirun, Ray; and the bars of a group."""
_CONSEQUENCES = frozenset(
    {"ChildFailedError", "ProcessRaisedException", "ProcessExitedException", "BrokenProcessPool", "CalledProcessError"}
    | {"RemoteTraceback", "RayTaskError", "WorkerCrashedError", "ExceptionGroup", "SystemExit", "RemoteError"}
)
"""Errors that only report another process's error."""
_NON_PYTHON = re.compile(
    r"^(?:Error in .*|Error: .*|ERROR: LoadError.*|ERROR: .*Error.*|Exception in thread .*|terminate called after .*"
    r"|panic: .*|thread '.*' panicked at .*|Fatal Python error: .*|Program received signal .*|Assertion .* failed\.?.*"
    r"|\S+: \S+:\d+: .* Assertion .*|\S+:\d+(?::\d+)?: (?:fatal )?error: .*"
    r"|Fortran runtime error: .*|At line \d+ of file .*)$",
    re.MULTILINE,
)
"""R, Julia, the JVM, C++, Go, Rust, compilers, Fortran."""


class RaisedError(Struct, frozen=True, omit_defaults=True):
    """An error as the program told it."""

    text: str
    """Its last line, such as `ValueError: no such column`; at most 500 characters."""
    name: str = ""
    """Class name without its module; empty where it is no Python exception."""
    file: str | None = None
    """Where it was raised: the innermost frame that is no library's."""
    line: int | None = None
    where: str | None = None
    """Function of that frame."""
    is_own_module: bool = False
    """For an import: what is missing is a name in the script's own code."""


def root_error(text: str) -> RaisedError | None:
    """Find the error that began it; None when the text tells of none."""
    lines = [_plain(line) for line in text.splitlines()]
    chains = _chains(lines)
    for chain in reversed(chains):
        if chain[0].name not in _CONSEQUENCES:
            return chain[0]
    if chains:
        return chains[0][0]
    found = _NON_PYTHON.search("\n".join(lines[-200:]))
    return RaisedError(found.group()[:500]) if found is not None else _syntax_error(lines)


def _plain(line: str) -> str:
    line = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line)
    for _ in range(3):
        line = _PREFIX.sub("", line, count=1)
    return line


def _chains(lines: list[str]) -> list[list[RaisedError]]:
    """Errors of each chain, in the order they were raised; chains in the order they were printed."""
    chains: list[list[RaisedError]] = []
    is_linked = False
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if line in _LINKS:
            is_linked = True
        elif line.endswith(HEADER) or line.endswith("Exception Group " + HEADER):
            error, at = _read_one(lines, at + 1)
            if error is not None:
                if is_linked and chains:
                    chains[-1].append(error)
                else:
                    chains.append([error])
                is_linked = False
            continue
        at += 1
    return chains


def _read_one(lines: list[str], at: int) -> tuple[RaisedError | None, int]:
    """Read frames and the raised line; where they end."""
    frames: list[re.Match[str]] = []
    while at < len(lines):
        line = lines[at]
        frame = _FRAME.match(line)
        if frame is not None:
            frames.append(frame)
        elif line.strip().endswith(HEADER) or line.strip() in _LINKS:
            return None, at  # cut off, or another process wrote in between
        elif line[:1] not in (" ", "\t", "") and (raised := _RAISED.match(line)) is not None:
            return _error(raised, frames, _message(lines, at)), at + 1
        at += 1
    return None, at


def _message(lines: list[str], at: int) -> str:
    """The raised line, with the next one where the message goes on and says nothing yet."""
    line = lines[at].strip()
    if line.endswith(":") and at + 1 < len(lines):
        line = f"{line} {lines[at + 1].strip()}"
    return line[:500]


def _error(raised: re.Match[str], frames: list[re.Match[str]], text: str) -> RaisedError:
    own = [frame for frame in frames if not _is_library(frame["file"])]
    place = own[-1] if own else frames[-1] if frames else None
    name = raised["name"].rpartition(".")[2]
    return RaisedError(
        text,
        name,
        place["file"] if place is not None else None,
        int(place["line"]) if place is not None else None,
        place["where"] if place is not None else None,
        name == "ImportError" and "/work/" in text,
    )


def _is_library(file: str) -> bool:
    return "/site-packages/" in file or "/dist-packages/" in file or "/lib/python3" in file or file.startswith("<")


def _syntax_error(lines: list[str]) -> RaisedError | None:
    """A script that does not compile prints its error without a header."""
    for at, line in enumerate(lines):
        raised = re.match(r"^(SyntaxError|IndentationError|TabError): .*", line)
        if raised is not None:
            frames = [found for each in lines[max(0, at - 6) : at] if (found := _FRAME.match(each)) is not None]
            place = frames[-1] if frames else None
            return RaisedError(
                line.strip()[:500],
                raised.group(1),
                place["file"] if place else None,
                int(place["line"]) if place else None,
            )
    return None
