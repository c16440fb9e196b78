"""`lab cancel`: stop experiments, waiting or running."""

import time
from typing import Any

import click

from labrun.capture.caller import user_name
from labrun.cli import show
from labrun.cli.connect import connect
from labrun.cli.each import each
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.client.api import Client

_LOOK_S = 2.0
"""How long an end is waited for before we say that it is under way."""


@click.command()
@click.argument("references", metavar="EXPERIMENT...", nargs=-1, required=True)
@click.option("--now", "is_urgent", is_flag=True, help="Kill at once, without its time to clean up.")
@common_options
@click.pass_obj
def cancel(output: Output, references: tuple[str, ...], is_urgent: bool, lab: str) -> int:
    """Stop experiments: out of the queue, or politely first and by force after their grace time.

    The request is durable when this returns, and is repeated until nothing of it is left.

    \b
    Example:
      lab cancel EXP-054 EXP-055
    """
    client, user = connect(output, lab), user_name()

    def stop(label: str) -> dict[str, Any]:
        return _look(client, client.cancel(label, by=user, is_urgent=is_urgent)["label"])

    stopped, status = each(output, client, references, stop, _tell)
    if output.face == "json":
        output.json([detail["experiment"] for detail in stopped])
    return status


def _look(client: Client, label: str) -> dict[str, Any]:
    deadline = time.monotonic() + _LOOK_S
    after = 0
    while True:
        detail = client.experiment(label)
        left_s = deadline - time.monotonic()
        if detail["experiment"]["status"] in show.OVER or left_s <= 0:
            return detail
        after = client.events(label, after=after, wait_s=round(min(left_s, 1.0), 3))["next"]


def _tell(detail: dict[str, Any]) -> str:
    one = detail["experiment"]
    if one["status"] in show.OVER:
        return "\n  ".join(show.closing(one, one))
    reason = one["reason"] or f"it is asked to stop and killed after {show.show_duration(detail['grace_s'])}"
    return f"{one['label']} cancelling: {reason}"
