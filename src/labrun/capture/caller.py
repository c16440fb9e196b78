"""The person's process as an experiment inherits it: variables, interpreter, limits, name.

Cheap to import: every submit does.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from labrun.core.errors import BadValue, NotRunnable

DROPPED = frozenset(
    {
        *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "WINDOWID", "DBUS_SESSION_BUS_ADDRESS"),
        *("TMUX", "TMUX_PANE", "STY", "WINDOW", "TERM_SESSION_ID", "COLUMNS", "LINES"),
        *("OLDPWD", "PWD", "SHLVL", "_"),
        *("INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"),
        *("LAB_EXPERIMENT", "LAB_RUN_ID", "LAB_ATTEMPT", "LAB_FOLDER", "LAB_OUTPUT_PATH", "LAB_ATTEMPT_KEY"),
        *("LAB_SEED", "LAB_NAME", "LAB_CONFIG", "LAB_CONFIGS", "LAB_INPUT_PATH", "LAB_METRICS", "LAB_HOST"),
    }
)
"""Variables of this terminal, login or surrounding experiment; elsewhere and later they are wrong."""
DROPPED_PREFIXES = ("SSH_", "SLURM_", "PBS_", "XDG_SESSION_", "VSCODE_", "LAB_INPUT_", "LAB_OPTION_")
_LIMITS = ("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "NOFILE", "NPROC", "RSS", "STACK")


class Elsewhere(NamedTuple):
    """Another machine, where it will run: programs, interpreter and data are looked for there, code is taken here."""

    name: str
    python: str | None
    """The Python of a login there."""
    user_home: Path
    """Of the login here."""


class Caller(NamedTuple):
    """Who submits, from where."""

    cwd: Path
    """Absolute, without links."""
    variables: Mapping[str, str]
    """His whole environment."""
    user: str
    host: str
    lab_home: Path
    pods: Mapping[str, Mapping[str, Any]]
    """Named resources, from the home's settings."""
    process: Mapping[str, Any]
    """Umask, niceness, processors, soft limits, in the wire's words."""
    elsewhere: Elsewhere | None = None
    """None: it runs on this machine. Else `variables`, `pods` and `process` are those of the other one."""


def is_readable_text(value: str) -> bool:
    """Whether a text survives JSON: bytes that are not UTF-8 do not."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def variables_to_send(caller: Mapping[str, str], given: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Choose the variables an experiment gets.

    Args:
        caller: The caller's environment.
        given: `KEY=VALUE` sets one, `KEY` alone passes the caller's own even if it would be dropped.

    Returns:
        The variables, and the names left out because they are not UTF-8.

    Raises:
        BadValue: A name is malformed, or `KEY` alone is not set here.
    """
    kept = {k: v for k, v in caller.items() if k not in DROPPED and not k.startswith(DROPPED_PREFIXES)}
    if "LAB_ATTEMPT_KEY" in caller:
        kept.pop("AICHOR_INPUT_PATH", None)  # of the surrounding experiment; elsewhere it may be somebody's own
    unreadable = sorted(k for k, v in kept.items() if not is_readable_text(k + v))
    kept = {k: v for k, v in kept.items() if k not in unreadable}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or "\0" in text or not is_readable_text(text):
            raise BadValue("--env", text, "KEY=VALUE or KEY, in UTF-8 and without NUL")
        if not equals and name not in caller:
            raise BadValue("--env", name, "the name of a variable that is set here, or KEY=VALUE")
        kept[name] = value if equals else caller[name]
    return kept, [name for name in unreadable if name not in kept]


def interpreter(caller: Mapping[str, str], cwd: Path) -> Path:
    """The Python that runs a script: the caller's own, never labrun's unless it is that one.

    `$VIRTUAL_ENV`, then `$CONDA_PREFIX`, then `python3` and `python` on PATH. Links are kept: a
    virtual environment is known by the path of its link.

    Raises:
        NotRunnable: There is none.
    """
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if caller.get(name):
            candidate = cwd / caller[name] / "bin" / "python"
            if is_executable(candidate):
                return candidate
    for name in ("python3", "python"):
        found = which(name, caller.get("PATH"), cwd)
        if found is not None:
            return found
    raise NotRunnable("python3", "no Python on PATH", "activate an environment, or name the program after `--`")


def which(name: str, path: str | None, cwd: Path) -> Path | None:
    """Find a program the way `execvp` would with this PATH."""
    for folder in (path if path is not None else os.defpath).split(os.pathsep):
        candidate = cwd / folder / name
        if is_executable(candidate):
            return candidate
    return None


def is_executable(path: Path) -> bool:
    """Whether this is a file we may execute."""
    return path.is_file() and os.access(path, os.X_OK)


def process_settings() -> dict[str, Any]:
    """Umask, niceness, processors and soft limits of this process, in the wire's words."""
    import resource  # start-up time: only a submit needs it

    umask = os.umask(0o022)
    os.umask(umask)
    limits: dict[str, int] = {}
    for name in _LIMITS:
        soft = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
        limits[name] = -1 if soft == resource.RLIM_INFINITY else soft
    allowed = os.sched_getaffinity(0)
    settings: dict[str, Any] = {"umask": umask, "nice": os.nice(0), "limits": limits}
    if len(allowed) < (os.cpu_count() or 1):
        settings["affinity"] = sorted(allowed)
    return settings


def user_name() -> str:
    """Login name of whoever runs this; the number where there is no name."""
    import pwd  # start-up time: `status` and `list` do not need it

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def host_name() -> str:
    """Name of this machine."""
    return os.uname().nodename
