"""`lab status`: one screen, what runs, what waits and why, what ended."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from labrun import settings
from labrun.cli.connect import chosen_host, connect
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.status_screen import counts, redrawn, screen
from labrun.cli.table import shorten, visible

_AGAIN_S = 2.0


@click.command()
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@common_options
@click.pass_obj
def status(output: Output, watch: bool, lab: str) -> int:
    """Show what runs, what waits and why, and what ended last; what ended since you last looked is marked.

    Of a script that draws a progress bar it shows the percentage and the time left, as the bar says.

    \b
    Example:
      lab status --watch
    """
    client = connect(output, lab)
    looked_at = _looked_at(is_now=output.is_human)
    since = datetime.fromtimestamp(looked_at, UTC).isoformat()
    try:
        while True:
            _show(output, client.status(since), looked_at, is_watch=watch)
            if not watch:
                return 0
            time.sleep(_AGAIN_S)
    except KeyboardInterrupt:
        if not watch:
            raise
        _looked_at(is_now=output.is_human)  # until this moment
        return 0


def _show(output: Output, seen: dict[str, Any], looked_at: float, *, is_watch: bool) -> None:
    if output.face == "json":
        output.json(seen)
    elif output.face == "quiet":
        output.data(counts(seen))
    else:
        lines = screen(output, seen, looked_at)
        if is_watch and output.is_terminal:
            last = shorten(counts(seen), output.width or 80)
            output.raw(1, output.encode(redrawn(lines, output.height, last)))
            return
        output.data(*lines)
        if not is_watch:
            output.say(*(f"lab: {visible(notice)}" for notice in seen["server"]["notices"]))


def _looked_at(*, is_now: bool) -> float:
    """When this person last looked, Unix seconds; from now on that is now, unless a program asks."""
    host = chosen_host()
    path = settings.looked_path(settings.home_path() if host is None else Path(host.shown))
    try:
        before = path.stat().st_mtime
    except OSError:
        before = time.time()  # never: then nothing is news
    try:
        if not is_now:
            return before
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        pass  # a home that cannot be written: then the same is news again
    return before
