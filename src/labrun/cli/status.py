"""`lab status`: one screen, what runs, what waits and why, what ended."""

from typing import Any

import click

from labrun.cli import show
from labrun.cli.connect import connect
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import table, visible
from labrun.core.units import show_size


@click.command()
@common_options
@click.pass_obj
def status(output: Output, lab: str) -> int:
    """Show what runs, what waits and why, and what ended last.

    Of a script that draws a progress bar it shows the percentage and the time left, as the bar says.

    \b
    Example:
      lab status
    """
    seen = connect(output, lab).status()
    if output.face == "json":
        output.json(seen)
        return 0
    if output.face == "quiet":
        output.data(_counts(seen))
        return 0
    lines = [
        *_section(output, "running", seen["running"], _running),
        *_section(output, "waiting", seen["waiting"], _waiting),
    ]
    hidden = seen["waiting_count"] - len(seen["waiting"])
    if hidden > 0:
        lines.append(f"  and {hidden} more: `lab list --status created`")
    lines += _section(output, "ended", seen["ended"], _ended)
    if not lines:
        lines.append("nothing here yet: `lab run train.py` runs a first experiment")
    output.data(*lines, "", _capacity(seen["capacity"]), _counts(seen))
    output.say(*(f"lab: {visible(notice)}" for notice in seen["server"]["notices"]))
    return 0


def _section(output: Output, title: str, experiments: list[dict[str, Any]], cells: Any) -> list[str]:
    if not experiments:
        return []
    rows = [cells(experiment) for experiment in experiments]

    def paint(row: int, column: int, text: str) -> str:
        return show.paint(output, text, experiments[row]) if column == 0 else text

    return [output.colour(title, "bold"), *table(rows, output.width, paint, indent=2)]


def _running(one: dict[str, Any]) -> list[str]:
    step = visible(one["reason"]) if one["reason"] else show.progress(one) or show.state(one)
    lasted = show.took(one) or show.ago(one["queued_at"])
    return [one["label"], show.name(one), visible(one["user"]), lasted, step, show.command(one)]


def _waiting(one: dict[str, Any]) -> list[str]:
    return [one["label"], show.name(one), visible(one["user"]), f"prio {one['priority']}", show.waiting(one)]


def _ended(one: dict[str, Any]) -> list[str]:
    how = one["status"] if one["status"] == "succeeded" else visible(one["ending_text"] or one["status"])
    return [one["label"], show.name(one), visible(one["user"]), show.ago(one["ended_at"]), how]


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
