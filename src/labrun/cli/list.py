"""`lab list`: experiments, newest first."""

from typing import Any

import click

from labrun.cli import show
from labrun.cli.connect import connect
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import table, visible

STATUSES = ("created", "processing", "succeeded", "failed", "cancelled")


@click.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--before", metavar="LABEL", help="Begin below this label; the next page.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those that stand like this.")
@click.option("--name", metavar="TEXT", help="Only those whose name contains this.")
@common_options
@click.pass_obj
def list_experiments(
    output: Output, limit: int, before: str | None, status: str | None, name: str | None, lab: str
) -> int:
    """List experiments, newest first. --quiet prints labels alone.

    \b
    Example:
      lab list --status failed --limit 50
    """
    page = connect(output, lab).experiments(limit=limit, before=before, status=status, name=name)
    experiments = page["experiments"]
    if output.face == "json":
        output.json(page)
    elif output.face == "quiet":
        output.data(*(one["label"] for one in experiments))
    elif not experiments:
        output.say(f"no experiments in lab `{visible(lab)}`" + (" like that" if status or name or before else ""))
    else:

        def paint(row: int, column: int, text: str) -> str:
            return show.paint(output, text, experiments[row]) if column == 1 else text

        output.data(*table([_cells(one) for one in experiments], output.width, paint))
        if page["next"]:
            output.say(f"more: `lab list --before {page['next']}`")
    return 0


def _cells(one: dict[str, Any]) -> list[str]:
    when = show.ago(one["ended_at"] or one["started_at"] or one["queued_at"])
    return [one["label"], show.state(one), when, show.took(one) or "-", show.name(one), show.command(one)]
