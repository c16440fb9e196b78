"""`lab list`: experiments, newest first, found by what is known of them."""

import re
import time
from datetime import UTC, datetime
from typing import Any

import click

from labrun.cli import show
from labrun.cli.connect import connect, resolve
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import table, visible
from labrun.core.errors import BadValue

STATUSES = ("created", "processing", "succeeded", "failed", "cancelled")
COLUMNS = ("label", "status", "when", "took", "name", "command", "user", "note", "tags", "group", "folder", "exit")
_USUAL = "label,status,when,took,name,command"


@click.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--before", metavar="LABEL", help="Begin below this label; the next page.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those that stand like this.")
@click.option("--name", metavar="TEXT", help="Only those whose name contains this.")
@click.option("--tag", multiple=True, metavar="WORD", help="Only those with this tag; several: with all of them.")
@click.option("--group", metavar="NAME", help="Only those of this group.")
@click.option("--parent", metavar="EXPERIMENT", help="Only those that follow from this one.")
@click.option("--user", metavar="NAME", help="Only those of this person.")
@click.option("--since", metavar="TIME", help="Queued since: 2h, 3d, 2026-11-20, 2026-11-20T09:30.")
@click.option(
    "--note", "word", multiple=True, metavar="WORD", help="With this word in name, note, hypothesis, command …"
)
@click.option("--metric", multiple=True, metavar="RANGE", help="Whose last value is so: 'val_loss<0.3'.")
@click.option(
    "--sort", default="newest", metavar="ORDER", help="newest, oldest, longest, name, or a metric: loss, -acc."
)
@click.option("--columns", default=_USUAL, metavar="NAMES", help=f"Of {', '.join(COLUMNS)}, and metrics.")
@click.option("--header/--no-header", "has_header", default=None, help="Name the columns, or not.")
@common_options
@click.pass_obj
def list_experiments(
    output: Output, /, lab: str, limit: int, sort: str, columns: str, has_header: bool | None, **chosen: Any
) -> int:
    """List experiments, newest first. Everything given must hold. --quiet prints labels alone.

    --sort orders the whole lab, not a page of it: `--sort val_loss --limit 5` are
    the five with the least, `--sort=-acc` begins with the greatest. What lacks
    what it is sorted by is left out.

    On a terminal the columns of --columns have their names above them; in a pipe
    they have none, for `cut` and `awk`, unless you say --header.

    \b
    Example:
      lab list --status failed --since 2d
      lab list --tag sky --metric 'val_loss<0.3' --sort val_loss --columns label,val_loss,note
    """
    shown = [name.strip() for name in columns.split(",") if name.strip()]
    since = _since(chosen.pop("since"))
    search: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items()
    }
    before = search.pop("before")
    client = connect(output, lab)
    if search["parent"] is not None:
        search["parent"] = client.experiment(resolve(client, search["parent"]))["experiment"]["run_id"]
    page = client.experiments(limit=limit, before=before, since=since, sort=sort, **search)
    experiments = page["experiments"]
    if output.face == "json":
        output.json(page)
    elif output.face == "quiet":
        output.data(*(one["label"] for one in experiments))
    elif not experiments:
        is_narrowed = since or any(search.values())
        output.say(f"no experiments in lab `{visible(lab)}`" + (" like that" if is_narrowed else ""))
    else:
        if has_header is None:
            has_header = output.is_terminal and columns != _USUAL
        output.data(*_rows(output, experiments, shown, has_header=has_header, is_usual=columns == _USUAL))
        if page["next"]:
            output.say(f"more: the same with `--before {page['next']}`")
    return 0


def _rows(
    output: Output, experiments: list[dict[str, Any]], shown: list[str], *, has_header: bool, is_usual: bool
) -> list[str]:
    rows = [[_cell(one, name) for name in shown] for one in experiments]
    if has_header:
        rows.insert(0, [visible(name) for name in shown])

    def paint(row: int, column: int, text: str) -> str:
        if has_header and row == 0:
            return output.colour(text, "bold")
        return show.paint(output, text, experiments[row - has_header]) if shown[column] == "status" else text

    return table(rows, output.width, paint, spare=(3, 2) if is_usual else ())


def _since(text: str | None) -> str | None:
    """A moment, or so long ago, in the wire's words.

    Raises:
        BadValue: It is neither.
    """
    if text is None:
        return None
    if re.fullmatch(r"[\d.]+[a-z][\d.a-z]*", text):
        from labrun.core.units import parse_duration  # start-up time: few ask for it

        days = re.fullmatch(r"([\d.]+)d", text)
        seconds = float(days[1]) * 86400 if days else parse_duration(text)
        return datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except ValueError:
        raise BadValue("--since", text, "a time ago such as 2h or 3d, or a date such as 2026-11-20") from None


def _cell(one: dict[str, Any], column: str) -> str:
    match column:
        case "label" | "group":
            return visible(one[column] or "-")
        case "status":
            return show.state(one)
        case "when":
            return show.ago(one["ended_at"] or one["started_at"] or one["queued_at"])
        case "took":
            return show.took(one) or "-"
        case "name":
            return show.name(one)
        case "command":
            return show.command(one)
        case "note" | "user" | "folder":
            return visible((one[column] or "-").partition("\n")[0])
        case "tags":
            return visible(",".join(one["tags"]) or "-")
        case "exit":
            return "-" if one["exit_code"] is None else str(one["exit_code"])
        case _:
            last = one["metrics"].get(column)
            return "-" if last is None else f"{last:g}"
