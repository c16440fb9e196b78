"""`lab run`: put an experiment in line, show its output, end with its exit status."""

from typing import Any

import click

from labrun.cli import show
from labrun.cli.attach import check_terminal, converse, terminal_size
from labrun.cli.connect import connect
from labrun.cli.follow import Attached
from labrun.cli.output import Output
from labrun.cli.submission import Submission, SubmitCommand, build, only_look, send, submit_options
from labrun.cli.table import visible


@click.command(cls=SubmitCommand)
@click.option("-i", "--interactive", is_flag=True, help="Give it a terminal: pdb, input(), Ctrl-Z; Ctrl-] d detaches.")
@submit_options
@click.pass_context
def run(ctx: click.Context, /, interactive: bool, **chosen: Any) -> int:
    """Run a script and show its output, as if you had started it yourself.

    It is put in line, its output appears at once, and this command ends with the script's own exit
    status: 128+n if signal n killed it, 124 over its time limit, 130 cancelled, 137 out of memory,
    125 lost or never started. Everything after the script belongs to the script.

    Ctrl-C goes to the script; a second one within 2 seconds cancels. While it waits, Ctrl-C asks
    whether to cancel it or leave it in line (status 0); without a terminal it is left, with status 130.
    Closing the terminal (129), TERM (143) or closing our output (141) leave it running. With --json
    the script's output goes to stderr and stdout gets one JSON document at the end.

    With -i it gets a terminal of its own, which outlives this one: `lab attach` comes back to it.

    \b
    Example:
      lab run train.py --lr 1e-3
      lab run -i debug_me.py
      lab run --name fit --timeout 2h -- ./sim --n 100
    """
    output = ctx.ensure_object(Output)
    if interactive:
        check_terminal(output, "run -i")
    submission = build(ctx, chosen)
    if only_look(output, submission, chosen):
        return 0
    if interactive:
        submission.request["spec"] |= {"stdin": "terminal", "terminal": terminal_size()}
    client = connect(output, submission.request["spec"]["lab"])
    accepted = send(output, client, submission)
    experiment = accepted["experiment"]
    if output.is_human:
        tell_start(output, submission, accepted)
    if interactive:
        return converse(output, client, connect(output, submission.request["spec"]["lab"]), experiment)
    return Attached(client, output, experiment, submission.request["spec"]["user"]).follow()


def tell_start(output: Output, submission: Submission, accepted: dict[str, Any]) -> None:
    """Say what was accepted, with which interpreter, and everything the user did not ask for."""
    spec, experiment = submission.request["spec"], accepted["experiment"]
    parts = [experiment["label"]]
    if experiment["name"]:
        parts.append(visible(experiment["name"]))
    if spec.get("interpreter"):
        parts.append(spec["interpreter"])
    if experiment["folder"]:
        parts.append(show.place(experiment["folder"]))
    output.say(f"lab: {' · '.join(parts)}")
    output.say(*(f"lab: {visible(notice)}" for notice in (*submission.notices, *accepted["notices"])))
    if submission.hint:
        output.say(f"lab: {visible(submission.hint)}")
    if accepted["is_reused"]:
        output.say(f"lab: {experiment['label']} is the same experiment on the same code; nothing was submitted")
    elif accepted["similar"]:
        output.say(f"lab: {earlier(experiment, accepted['similar'])}")


def earlier(experiment: dict[str, Any], similar: dict[str, Any]) -> str:
    """One line about the newest other experiment of the same definition: how it stands, its note, what one may do."""
    is_same_code = similar["tree"] == experiment["tree"]
    told = f"{similar['label']} was the same{'' if is_same_code else ' on other code'}: {show.state(similar)}"
    if similar.get("verdict"):
        told += f", {visible(similar['verdict'])}"
    if similar["note"]:
        told += f", “{visible(similar['note'])}”"
    is_usable = is_same_code and similar["status"] not in ("failed", "cancelled")
    offer = "--reuse would show it instead, " if is_usable else ""
    return f"{told}; {offer}--new leaves this line out"
