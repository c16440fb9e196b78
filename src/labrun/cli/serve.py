"""`lab serve`: be the server of this home. The only command that reaches beyond the API."""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from labrun import settings
from labrun.cli.connect import done_there, start
from labrun.cli.options import face_options
from labrun.cli.output import Output
from labrun.client.address import socket_of
from labrun.core.errors import LabError, ServerUnreachable

LOG = "server.log"


@click.command()
@click.option("--detach", is_flag=True, help="Return when it answers; it goes on in the background.")
@click.option("--new-queue", is_flag=True, help="Begin an empty queue where the home lost its own.")
@click.option("--report-fd", type=int, hidden=True)
@face_options
@click.pass_obj
def serve(output: Output, detach: bool, new_queue: bool, report_fd: int | None) -> int:
    """Serve this home in the foreground. Other commands start a server by themselves.

    \b
    Example:
      lab serve
    """
    home = settings.home_path()
    if report_fd is not None:
        return _serve_detached(home, report_fd)
    flags = (*(["--detach"] if detach else []), *(["--new-queue"] if new_queue else []))
    if (there := done_there(output, "serve", *flags)) is not None:
        return there
    if detach and not new_queue:
        start(home, output)
        output.say(f"lab: serving {home}")
        return 0
    from labrun import bootstrap  # start-up time: only a server needs a server

    return bootstrap.serve(
        home,
        allow_new_queue=new_queue,
        on_ready=lambda view: output.say(f"lab: serving {home}, process {view.pid}; Ctrl-C ends it, what runs runs on"),
    )


def init_home(home: Path, state: Path | None) -> Path:
    """Make a home; see `bootstrap.init`."""
    from labrun import bootstrap  # start-up time: only `lab init` and a server need it

    return bootstrap.init(home, state)


def _serve_detached(home: Path, report_fd: int) -> int:
    """Fork once more, serve in the child, and report the first word of it over the pipe.

    Whoever starts us has made this process a session of its own with three descriptors and the pipe,
    a clean environment and `/` as directory.
    """
    if os.fork():
        os._exit(0)  # the starter has waited for this; init adopts the server
    os.set_inheritable(report_fd, False)
    _reset_process()
    report = _reporter(report_fd)

    def ready(view: Any) -> None:
        _turn_to_log(socket_of(home).with_name(LOG))
        report({"ready": {"pid": view.pid, "notices": list(view.notices)}})

    try:
        from labrun import bootstrap  # start-up time: only a server needs a server

        return bootstrap.serve(home, on_ready=ready)
    except LabError as error:
        report({"error": _problem(error)})
        raise
    except Exception as error:  # root of the process: whoever waits for it learns why it never came
        report({"error": _problem(ServerUnreachable(str(home), f"it failed with {type(error).__name__}: {error}"))})
        raise


def _problem(error: LabError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details}


def _reporter(report_fd: int) -> Callable[[dict[str, Any]], None]:
    is_open = True

    def report(content: dict[str, Any]) -> None:
        nonlocal is_open
        if is_open:
            is_open = False
            with suppress(OSError):  # the starter gave up waiting: nobody to tell
                os.write(report_fd, json.dumps(content).encode() + b"\n")
            os.close(report_fd)

    return report


def _reset_process() -> None:
    """Undo what the first caller's shell happened to set: every attempt gets its own settings anyway."""
    os.umask(0o022)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    with suppress(OSError):  # a caller under `taskset` must not narrow the host for everybody
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    for name in ("NOFILE", "AS", "CPU", "DATA", "FSIZE"):
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        with suppress(OSError, ValueError):
            resource.setrlimit(number, (hard, hard))


def _turn_to_log(path: Path) -> None:
    """Send stdout and stderr to the home's log, what was said so far first."""
    said = b""
    with suppress(OSError):
        size = os.fstat(2).st_size
        said = os.pread(2, size, 0)
    try:
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        print(f"cannot write {path}: {error}", file=sys.stderr)  # noqa: T201  before there is a log
        return
    os.write(log, said)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
