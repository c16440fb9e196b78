"""`lab undelete`: bring deleted experiments back, or show which there are."""

from typing import Any

import click

from labrun.capture.caller import user_name
from labrun.cli import show
from labrun.cli.connect import connect
from labrun.cli.each import each
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import table, visible


@click.command()
@click.argument("references", metavar="[EXPERIMENT]...", nargs=-1)
@common_options
@click.pass_obj
def undelete(output: Output, references: tuple[str, ...], lab: str) -> int:
    """Bring deleted experiments back to where they were, by label or run id.

    Without any, list what is in the trash, last deleted first; --quiet prints labels alone.

    \b
    Example:
      lab undelete EXP-054
    """
    client = connect(output, lab)
    if not references:
        return _list(output, client.trash()["experiments"])
    user = user_name()
    back, status = each(output, client, references, lambda label: client.undelete(label, by=user), _tell)
    if output.face == "json":
        output.json(back)
    return status


def _tell(one: dict[str, Any]) -> str:
    return f"{one['label']} is back{': ' + visible(one['folder']) if one['folder'] else ''}"


def _list(output: Output, deleted: list[dict[str, object]]) -> int:
    if output.face == "json":
        output.json(deleted)
    elif output.face == "quiet":
        output.data(*(str(one["label"]) for one in deleted))
    elif not deleted:
        output.say("the trash is empty")
    else:
        rows = [
            [
                str(one["label"]),
                show.state(one),
                show.name(one),
                f"deleted {show.ago(str(one['deleted_at']))} by {visible(str(one['deleted_by'] or 'somebody'))}",
            ]
            for one in deleted
        ]
        output.data(*table(rows, output.width))
    return 0
