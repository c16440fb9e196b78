"""The immutable intention: what to run, where from, with what, and why."""

from typing import Literal

from msgspec import Struct, field

from labrun.core.resources import Request

SPEC_VERSION = 1


class Target(Struct, frozen=True, omit_defaults=True):
    """What is executed."""

    kind: Literal["script", "module", "program"]
    name: str
    """The script's path, the module's name or the program, as the user wrote it."""
    argv: tuple[str, ...]
    """The whole command line as it will be executed, interpreter first."""


class Source(Struct, frozen=True, omit_defaults=True):
    """The code and where the command runs."""

    root: str | None = None
    """Absolute path of the source root at submit; None when nothing was frozen."""
    only: tuple[str, ...] = ()
    """When not empty, only these paths below root were frozen (a script that lies in `/tmp` or `$HOME`)."""
    tree: str | None = None
    """Hash of the frozen git tree (40 hexadecimal digits); set by the server at submit."""
    cwd: str = "."
    """Working directory: relative to `work/` when `cwd_is_live` is false, else absolute."""
    cwd_is_live: bool = False
    """The caller stood outside the root and keeps his directory: not frozen, recorded as such."""


class Surroundings(Struct, frozen=True, omit_defaults=True):
    """What the caller's process looked like; set per attempt, nothing is inherited from the server."""

    variables: str | None = None
    """Hash of the variables' file in `store/env/`; the values themselves are never in a record."""
    umask: int = 0o022
    nice: int = 0
    affinity: tuple[int, ...] | None = None
    limits: dict[str, int] = field(default_factory=dict)
    """Soft resource limits by name, such as `NOFILE`; -1 means unlimited."""


class Spec(Struct, frozen=True, omit_defaults=True):
    """What to run and how. Never changes after it was accepted."""

    target: Target
    lab: str = "main"
    name: str | None = None
    source: Source = field(default_factory=Source)
    surroundings: Surroundings = field(default_factory=Surroundings)
    interpreter: str | None = None
    """Absolute path of the Python that runs a script or module."""
    resources: Request = field(default_factory=Request)
    priority: int = 5
    """1 (whenever) to 10 (first); earlier, never exclusive."""
    timeout_s: float | None = None
    grace_s: float = 10.0
    """Seconds between the polite signal and the kill."""
    note: str | None = None
    user: str = ""
    """Login name of whoever submitted."""
    host: str = ""
    version: int = SPEC_VERSION


PRIORITY_WORDS = {"low": 2, "normal": 5, "high": 7, "critical": 9}
