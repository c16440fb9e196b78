"""`lab attach`: come back to an experiment that runs in a terminal of its own."""

import os
from typing import Any

import click

from labrun.capture import caller
from labrun.cli.connect import connect, resolve
from labrun.cli.log_source import tail_offset
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.client.api import Client
from labrun.core.errors import BadValue, NotAllowedNow


@click.command()
@click.argument("reference", metavar="[EXPERIMENT]", default="latest")
@click.option("--read-only", is_flag=True, help="Look on; type nothing.")
@common_options
@click.pass_obj
def attach(output: Output, reference: str, read_only: bool, lab: str) -> int:
    """Come back to an experiment started by `lab run -i`: see its terminal, type into it.

    One person types at a time; whoever comes second looks on until the first has left. Ctrl-] d
    detaches and leaves it running. Ends with the script's own exit status, like `lab run`.

    \b
    Example:
      lab attach EXP-054
    """
    check_terminal(output, "attach")
    client = connect(output, lab)
    detail = client.experiment(resolve(client, reference))
    experiment = detail["experiment"]
    if not detail["has_terminal"]:
        raise NotAllowedNow("attach to", experiment["label"], "without a terminal", "started by `lab run -i`")
    attempt, rows = experiment["attempt"], os.get_terminal_size(1).lines
    begin = tail_offset(client, experiment["run_id"], "stdout", attempt, rows) if experiment["folder"] else 0
    return converse(output, client, connect(output, lab), experiment, is_looking_on=read_only, begin=begin)


def check_terminal(output: Output, what: str) -> None:
    """Refuse to lend a terminal that is none.

    Raises:
        BadValue: Input or output is no terminal, or JSON was asked for.
    """
    for descriptor, name in ((0, "standard input"), (1, "standard output")):
        if not os.isatty(descriptor):
            raise BadValue(what, f"{name} that is no terminal", "a terminal to lend; without one leave `-i` out")
    if output.face == "json":
        raise BadValue(what, "--json", "no `--json`: what appears is the script's")


def terminal_size() -> dict[str, int]:
    """Rows and columns of our terminal, in the wire's words."""
    size = os.get_terminal_size(0)
    return {"rows": size.lines or 24, "columns": size.columns or 80}


def converse(
    output: Output,
    client: Client,
    screen_client: Client,
    experiment: dict[str, Any],
    *,
    is_looking_on: bool = False,
    begin: int = 0,
) -> int:
    """Lend this terminal to an experiment until it ends or somebody detaches; the exit status of `lab run`."""
    from labrun.cli.terminal import LEAVE_SHOWN, AttachedTerminal  # start-up time: only when a terminal is lent

    output.say(f"lab: {experiment['label']} · {LEAVE_SHOWN} detaches, `lab attach {experiment['label']}` comes back")
    attached = AttachedTerminal(
        client,
        screen_client,
        output,
        experiment,
        caller.user_name(),
        is_looking_on=is_looking_on,
        begin=begin,
    )
    return attached.follow()
