"""Between fork and exec: a copy of the supervisor turns into the command."""

from __future__ import annotations

import json
import os
import resource
import signal
from contextlib import suppress

from labrun.shim.kernel import PR_SET_PDEATHSIG, close_descriptors, libc
from labrun.shim.terminal import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # not imported when it runs: each import costs every supervisor memory


def become_command(
    order: dict[str, Any],
    variables: dict[str, str],
    parent: int,
    logs: list[int],
    terminal: Terminal | None,
    groups: list[str],
    report: int,
) -> None:
    """Turn into the command. Never returns; what keeps it from starting is told through `report`.

    Does only what must be done on this side of the fork: every object it touches copies a page.
    """
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)
        if terminal is None:
            os.setsid()
        else:
            terminal.take_foreground()
        for path in groups:
            with open(path + "/cgroup.procs", "wb", buffering=0) as stream:
                stream.write(b"0")
        stdin = os.open(order.get("stdin") or "/dev/null", os.O_RDONLY)
        for target, source in enumerate([stdin, *logs] if terminal is None else [terminal.slave] * 3):
            os.dup2(source, target)
        os.chdir(order["cwd"])
        if order["nice"] != os.getpriority(os.PRIO_PROCESS, 0):
            with suppress(OSError):  # who was started less important than his order may not rise
                os.setpriority(os.PRIO_PROCESS, 0, order["nice"])
        if order["affinity"]:
            with suppress(OSError):  # those processors may be gone
                os.sched_setaffinity(0, order["affinity"])
        close_descriptors(report)  # the lease with them
        take_limits(order["limits"])
        os.execvpe(order["argv"][0], order["argv"], variables)
    except BaseException as error:  # noqa: BLE001 - a child must never run on into its parent's code
        os.write(report, json.dumps(explain(error, order["argv"][0])).encode())
    finally:
        os._exit(127)


def explain(error: BaseException, what: str) -> list[Any]:
    """What kept a command from starting: the error's number, and words that fit into a pipe at once."""
    code, what = getattr(error, "errno", None), getattr(error, "filename", None) or what
    return [code, (f"{os.strerror(code)}: {what}" if code else f"{type(error).__name__}: {error}")[:300]]


def variables_of(order: dict[str, Any]) -> dict[str, str]:
    """The command's whole environment; nothing of ours is inherited."""
    variables: dict[str, str] = {}
    if order["variables_file"] is not None:
        with open(order["variables_file"], encoding="utf-8") as stream:
            variables = json.load(stream)
    own = {"PWD": order["cwd"], "LAB_ATTEMPT_KEY": order["key"]}
    return {**order["variable_defaults"], **variables, **order["variables"], **own}


def take_limits(limits: dict[str, int]) -> None:
    """Set soft limits, -1 for none, as far as the hard ones allow."""
    for name, soft in limits.items():
        if (kind := getattr(resource, "RLIMIT_" + name, None)) is not None:
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY or 0 <= soft <= hard else hard, hard))
