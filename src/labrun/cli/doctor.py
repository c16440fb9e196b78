"""`lab doctor`: what is wrong here, and what to do about it."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from labrun import settings
from labrun.cli import exit as statuses
from labrun.cli.connect import chosen_host, connect
from labrun.cli.options import face_options
from labrun.cli.output import Output
from labrun.cli.table import visible
from labrun.core.errors import LabError


@click.command()
@face_options
@click.pass_obj
def doctor(output: Output) -> int:
    """Check home, host and server. Exit status 1 when something needs you.

    Works without a server too: then it says why none can be started.

    \b
    Example:
      lab doctor
    """
    host = chosen_host()
    findings = [_home(settings.home_path())] if host is None else [_finding("host", host.shown)]
    try:
        findings += connect(output).doctor()["findings"]
    except LabError as error:
        findings.append(_finding("server", error.message, error.hint, is_good=False))
        findings.append(_finding("python", f"{sys.version.split()[0]} at {sys.executable}"))
    bad = [finding for finding in findings if not finding["is_good"]]
    if output.face == "json":
        output.json({"findings": findings})
    else:
        for finding in bad if output.face == "quiet" else findings:
            output.data(*_lines(output, finding))
        if output.is_human and not bad:
            output.data("all good")
    return statuses.REFUSED if bad else statuses.GOOD


def _home(home: Path) -> dict[str, Any]:
    if not home.exists():
        return _finding("home", f"{home} is not there yet; the first command makes it")
    if not home.is_dir():
        return _finding("home", f"{home} is no directory", "set LAB_HOME to another place", is_good=False)
    if not os.access(home, os.W_OK | os.X_OK):
        return _finding("home", f"{home} cannot be written", "check who owns it: `ls -ld`", is_good=False)
    return _finding("home", str(home))


def _finding(check: str, text: str, hint: str | None = None, *, is_good: bool = True) -> dict[str, Any]:
    return {"check": check, "is_good": is_good, "text": text, "hint": hint}


def _lines(output: Output, finding: dict[str, Any]) -> list[str]:
    mark = output.colour("ok  ", "green") if finding["is_good"] else output.colour("BAD ", "red")
    lines = [f"{mark} {finding['check']}: {visible(finding['text'])}"]
    if finding["hint"]:
        lines.append(f"       {visible(finding['hint'])}")
    return lines
