"""`lab server`: look at, stop or restart the server. Nothing that runs is touched by any of it."""

import os
import select
from contextlib import suppress
from typing import Any

import click

from labrun import settings
from labrun.cli import exit as statuses
from labrun.cli import show
from labrun.cli.connect import connect, done_there, start
from labrun.cli.options import face_options
from labrun.cli.output import Output, fields
from labrun.cli.table import visible
from labrun.core.errors import ServerUnreachable

_LEAVE_S = 15.0


@click.group()
def server() -> None:
    """Look at, stop or restart this home's server; what runs, runs on."""


@server.command()
@face_options
@click.pass_obj
def status(output: Output) -> int:
    """Show the server of this home; starts none. Exit status 1 when none runs.

    \b
    Example:
      lab server status
    """
    if (there := done_there(output, "server", "status")) is not None:
        return there
    try:
        seen = connect(output, may_start=False).server()
    except ServerUnreachable:
        if output.face == "json":
            output.json(None)
        else:
            output.say(f"no server runs for {settings.home_path()}; the first command starts one")
        return statuses.REFUSED
    if output.face == "json":
        output.json(seen)
    elif output.is_human:
        output.data(*fields(_facts(seen), indent=0))
    return 0


@server.command()
@face_options
@click.pass_obj
def stop(output: Output) -> int:
    """Let the server leave. Experiments that run, run on; the next command starts it again.

    \b
    Example:
      lab server stop
    """
    if (there := done_there(output, "server", "stop")) is not None:
        return there
    seen = stop_and_wait(output)
    if output.face == "json":
        output.json({"stopped": seen is not None})
    elif seen is None:
        output.say("no server runs")
    else:
        output.say(f"server {seen['pid']} left; {_untouched(seen)}")
    return 0


@server.command()
@face_options
@click.pass_obj
def restart(output: Output) -> int:
    """Stop the server and start the installed version. Nothing that runs is touched.

    \b
    Example:
      lab server restart
    """
    if (there := done_there(output, "server", "restart")) is not None:
        return there
    before = stop_and_wait(output)
    start(settings.home_path(), output)
    seen = connect(output, may_start=False).server()
    if output.face == "json":
        output.json(seen)
    else:
        was = f"was {before['pid']}, {before['version']}" if before is not None else "none ran before"
        output.say(f"server {seen['pid']}, {seen['version']} ({was}); {_untouched(seen)}")
    return 0


def stop_and_wait(output: Output) -> dict[str, Any] | None:
    """Stop the server and wait until its process is gone; None when none ran."""
    client = connect(output, may_start=False)
    try:
        seen = client.server()
    except ServerUnreachable:
        return None
    process = -1
    with suppress(OSError):
        process = os.pidfd_open(seen["pid"])
    try:
        with suppress(ServerUnreachable):  # it may be gone before it could answer
            client.stop_server()
        client.close()
        if process >= 0:
            poll = select.poll()
            poll.register(process, select.POLLIN)
            if not poll.poll(_LEAVE_S * 1000):
                raise ServerUnreachable(seen["home"], f"process {seen['pid']} was asked to leave and is still there")
    finally:
        if process >= 0:
            os.close(process)
    return seen


def _untouched(seen: dict[str, Any]) -> str:
    return f"{seen['live']} running and {seen['waiting']} waiting experiments are untouched"


def _facts(seen: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("home", visible(seen["home"])),
        (
            "process",
            f"{seen['pid']}, version {seen['version']}, up {show.ago(seen['started_at']).removesuffix(' ago')}",
        ),
        ("holds", f"{seen['live']} running, {seen['waiting']} waiting, {seen['known']} known"),
        ("notices", "\n".join(visible(notice) for notice in seen["notices"])),
    ]
