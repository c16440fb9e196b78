"""`lab wait`: return when experiments are over."""

import time
from typing import Any

import click

from labrun.cli import exit as statuses
from labrun.cli import show
from labrun.cli.connect import connect, resolve
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.client.api import Client
from labrun.core.units import parse_duration

_WAIT_S = 20.0


@click.command()
@click.argument("references", metavar="EXPERIMENT...", nargs=-1, required=True)
@click.option("--timeout", metavar="TIME", help="Give up after 90s, 15m, 4h …; then the exit status is 1.")
@common_options
@click.pass_obj
def wait(output: Output, references: tuple[str, ...], timeout: str | None, lab: str) -> int:
    """Wait until experiments are over. Exit status 0 when all succeeded, else 1.

    \b
    Example:
      lab wait EXP-054 EXP-055 && lab queue evaluate.py
    """
    client = connect(output, lab)
    deadline = time.monotonic() + parse_duration(timeout) if timeout is not None else None
    known = [client.experiment(resolve(client, reference))["experiment"]["run_id"] for reference in references]
    seen: list[dict[str, Any]] = []
    for run_id in known:
        one = until_over(client, run_id, deadline)
        seen.append(one)
        if output.is_human:
            is_over = one["status"] in show.OVER
            output.data(
                "\n  ".join(show.closing(one, one)) if is_over else f"{one['label']} not over: {show.state(one)}"
            )
    if output.face == "json":
        output.json(seen)
    return 0 if all(one["status"] == "succeeded" for one in seen) else statuses.REFUSED


def until_over(client: Client, reference: str, deadline: float | None) -> dict[str, Any]:
    """Wait for one experiment's end, or the deadline; return it as it stands then.

    Args:
        client: Asked by long polling.
        reference: Resolved; best a run id.
        deadline: On the monotonic clock; None waits for ever.
    """
    after = 0
    while True:
        one: dict[str, Any] = client.experiment(reference)["experiment"]
        left_s = deadline - time.monotonic() if deadline is not None else _WAIT_S
        if one["status"] in show.OVER or left_s <= 0:
            return one
        after = client.events(reference, after=after, wait_s=round(min(left_s, _WAIT_S), 3))["next"]
