"""The environment of this process, read here alone: for the experiment, for a server started by us, for colours."""

import os

_SERVER_NAMES = frozenset(
    {
        *("HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
        *("XDG_RUNTIME_DIR", "XDG_SESSION_ID", "SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST", "container"),
    }
)


def caller_variables() -> dict[str, str]:
    """The caller's whole environment."""
    return dict(os.environ)  # noqa: TID251  this module is the reader


def server_variables() -> dict[str, str]:
    """The clean environment of a server: nothing of this terminal, nothing that steers a Python."""
    caller = caller_variables()
    return {k: v for k, v in caller.items() if k in _SERVER_NAMES or k.startswith("LC_")}


def is_inside_experiment() -> bool:
    """Whether this process belongs to an attempt: what it leaves behind is killed when that ends."""
    return "LAB_ATTEMPT_KEY" in caller_variables()


def may_colour() -> bool:
    """Whether the environment allows colours.

    Source:
        no-color.org: any value but the empty one forbids them.
    """
    caller = caller_variables()
    return not caller.get("NO_COLOR") and caller.get("TERM") not in (None, "dumb")
