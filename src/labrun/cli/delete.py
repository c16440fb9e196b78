"""`lab delete`: experiments into the trash, and the trash emptied."""

import sys

import click

from labrun.capture.caller import user_name
from labrun.cli import exit as statuses
from labrun.cli import show
from labrun.cli.connect import connect
from labrun.cli.each import each
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import table
from labrun.client.api import Client
from labrun.core.errors import RequestError
from labrun.core.units import parse_duration, show_size


@click.command()
@click.argument("references", metavar="[EXPERIMENT]...", nargs=-1)
@click.option("--purge", is_flag=True, help="Empty the trash instead: what goes cannot come back.")
@click.option("--older-than", metavar="TIME", help="With --purge: deleted longer ago; 30d unless given, 0s for all.")
@click.option("--yes", is_flag=True, help="With --purge: do not ask.")
@common_options
@click.pass_obj
def delete(
    output: Output, references: tuple[str, ...], purge: bool, older_than: str | None, yes: bool, lab: str
) -> int:
    """Move experiments that are over to the trash; `lab undelete` brings them back.

    They leave every list. Their labels are never given again, what came from them still names them,
    and the lab's chain of seals stays whole: `deleted.jsonl` says who deleted what, and when.
    One that waits or runs is refused: `lab cancel` first.

    \b
    Example:
      lab delete EXP-054 EXP-055
      lab delete --purge --older-than 90d
    """
    if purge == bool(references) or (not purge and (older_than is not None or yes)):
        what = "no experiment was named" if not references else "--purge and its options take no experiments"
        raise RequestError(what, hint="`lab delete EXPERIMENT…`, or `lab delete --purge [--older-than TIME] [--yes]`")
    client = connect(output, lab)
    if purge:
        return _purge(output, client, older_than or "30d", is_asked=not yes)
    user = user_name()
    deleted, status = each(
        output,
        client,
        references,
        lambda label: client.delete(label, by=user),
        lambda one: f"{one['label']} deleted; `lab undelete {one['label']}` brings it back",
    )
    if output.face == "json":
        output.json(deleted)
    return status


def _purge(output: Output, client: Client, older_than: str, *, is_asked: bool) -> int:
    older_than_s = parse_duration(older_than)
    found = client.purge(older_than_s=older_than_s, by=user_name(), is_dry=True)
    gone = found["experiments"]
    if gone and is_asked:
        if not (sys.stdin is not None and sys.stdin.isatty()):
            raise RequestError("--purge asks first, and there is no terminal to ask at", hint="add --yes")
        rows = [[one["label"], show.name(one), f"deleted {show.ago(one['deleted_at'])}"] for one in gone]
        output.insist(*table(rows, output.width, indent=2))
        output.insist_part(f"remove {_count(gone)} for good, {show_size(found['size_bytes'])}? [y/N] ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            output.insist("lab: nothing was removed")
            return statuses.REFUSED
    if gone:
        found = client.purge(older_than_s=older_than_s, by=user_name(), is_dry=False)
    if output.face == "json":
        output.json(found)
    elif output.is_human:
        gone = found["experiments"]
        freed = f", {show_size(found['size_bytes'])} freed" if gone else ""
        output.data(f"{_count(gone)} removed for good{freed}")
    return 0


def _count(gone: list[object]) -> str:
    return "1 experiment" if len(gone) == 1 else f"{len(gone)} experiments"
