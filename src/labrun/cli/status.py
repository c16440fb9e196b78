"""`lab status`: one screen, what runs, what waits and why, what ended."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from labrun import settings
from labrun.cli import show
from labrun.cli.connect import chosen_host, connect
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import shorten, table, visible
from labrun.core.units import show_size

_AGAIN_S = 2.0
_MANY = 980
"""The server counts no further."""


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
    while True:
        seen = client.status(since)
        if output.face == "json":
            output.json(seen)
        elif output.face == "quiet":
            output.data(_counts(seen))
        else:
            lines = _screen(output, seen, looked_at)
            if watch and output.is_terminal:
                output.raw(1, output.encode(_redrawn(lines, output.height)))
            else:
                output.data(*lines)
            if not watch:
                output.say(*(f"lab: {visible(notice)}" for notice in seen["server"]["notices"]))
        if not watch:
            return 0
        try:
            time.sleep(_AGAIN_S)
        except KeyboardInterrupt:
            _looked_at(is_now=output.is_human)  # until this moment
            return 0


def _redrawn(lines: list[str], height: int) -> str:
    """The screen over the one before, line by line, so that nothing flickers; never higher than the window."""
    room = max(2, height - 1)
    if len(lines) > room:  # what runs stands above and stays, as do the counts below
        lines = [*lines[: room - 1], lines[-1]]
    return "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"


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


def _screen(output: Output, seen: dict[str, Any], looked_at: float) -> list[str]:
    lines = [
        *_section(output, "running", seen["running"], _running, spare=(2, 6, 3, 5)),
        *_section(output, "waiting", seen["waiting"], _waiting, spare=(2, 3)),
    ]
    hidden = seen["waiting_count"] - len(seen["waiting"])
    if hidden > 0:
        lines.append(f"  and {hidden} more: `lab list --status created`")
    lines += _section(output, "ended", seen["ended"], lambda one: _ended(one, looked_at), spare=(2,))
    if (more := seen["news_count"] - len(seen["ended"])) > 0:
        lines.append(f"  and {more}{' or more' if more >= _MANY else ''} since you last looked: `lab list`")
    if not lines:
        lines.append("nothing here yet: `lab run train.py` runs a first experiment")
    closing = [_capacity(seen["capacity"]), _counts(seen)]
    return [*lines, *_gpus(output, seen), "", *(shorten(line, output.width or len(line)) for line in closing)]


def _gpus(output: Output, seen: dict[str, Any]) -> list[str]:
    """One line for each GPU: who has it, and how far that is."""
    if not seen["capacity"]["gpus"]:
        return []
    holders = {gpu: one for one in seen["running"] for gpu in one["gpus"]}
    rows = []
    for index in seen["capacity"]["gpus"]:
        one = holders.get(index)
        told = [one["label"], show.name(one), show.progress(one) or show.state(one)] if one else ["idle", "", ""]
        taken = "taken in another lab" if one is None and index in seen["capacity"]["gpus_taken"] else told[0]
        rows.append([f"GPU {index}", taken, *told[1:]])
    return [output.colour("GPUs", "bold"), *table(rows, output.width, indent=2)]


def _section(
    output: Output, title: str, experiments: list[dict[str, Any]], cells: Any, spare: Sequence[int]
) -> list[str]:
    if not experiments:
        return []
    rows = [cells(experiment) for experiment in experiments]

    def paint(row: int, column: int, text: str) -> str:
        return show.paint(output, text, experiments[row]) if column == 0 else text

    return [output.colour(title, "bold"), *table(rows, output.width, paint, indent=2, spare=spare)]


def _running(one: dict[str, Any]) -> list[str]:
    step = visible(one["reason"]) if one["reason"] else show.progress(one) or show.state(one)
    lasted = show.took(one) or show.ago(one["queued_at"])
    peak = show_size(one["peak_memory_bytes"]) if one["peak_memory_bytes"] else "-"
    return [one["label"], show.name(one), visible(one["user"]), lasted, step, peak, show.command(one)]


def _waiting(one: dict[str, Any]) -> list[str]:
    return [one["label"], show.name(one), visible(one["user"]), f"prio {one['priority']}", show.waiting(one)]


def _ended(one: dict[str, Any], looked_at: float) -> list[str]:
    is_news = (show.moment(one["ended_at"]) or 0.0) > looked_at
    how = one["status"] if one["status"] == "succeeded" else visible(one["ending_text"] or one["status"])
    return [
        one["label"],
        show.name(one),
        visible(one["user"]),
        show.ago(one["ended_at"]),
        ("new: " if is_news else "") + how,
    ]


def _capacity(seen: dict[str, Any]) -> str:
    parts = [
        f"slots {seen['slots_taken']}/{seen['slots']}",
        f"CPUs {seen['cpus_taken']}/{seen['cpus']}",
        f"memory {show_size(seen['memory_taken_bytes'])}/{show_size(seen['memory_bytes'])}",
    ]
    if seen["gpus"]:
        parts.append(f"GPUs {len(seen['gpus_taken'])}/{len(seen['gpus'])}")
    return "taken: " + ", ".join(parts)


def _counts(seen: dict[str, Any]) -> str:
    ended = {name: number for name, number in seen["counts"].items() if name in show.OVER and number}
    parts = [f"{len(seen['running'])} running", f"{seen['waiting_count']} waiting"]
    return ", ".join([*parts, *(f"{number} {name}" for name, number in ended.items())])
