"""`lab queue`: put an experiment in line and return."""

from typing import Any

import click

from labrun.cli import show
from labrun.cli.connect import connect
from labrun.cli.output import Output
from labrun.cli.run import tell_start
from labrun.cli.submission import SubmitCommand, build, only_look, send, submit_options


@click.command(cls=SubmitCommand)
@submit_options
@click.pass_context
def queue(ctx: click.Context, /, **chosen: Any) -> int:
    """Put a script in line and return; it runs when its turn comes.

    When this returns, the experiment and its code are safe on disk: edit on, log out. --quiet
    prints the label alone.

    \b
    Example:
      lab queue --priority high --note "wider prior" train.py --lr 1e-3
      lab queue --gpus 1 -m mypackage.train
    """
    output = ctx.ensure_object(Output)
    submission = build(ctx, chosen)
    if only_look(output, submission, chosen):
        return 0
    client = connect(output, submission.request["spec"]["lab"])
    accepted = send(output, client, submission)
    experiment = accepted["experiment"]
    if output.face == "json":
        output.json(accepted)
    elif output.face == "quiet":
        output.data(experiment["label"])
    else:
        tell_start(output, submission, accepted)
        is_waiting = experiment["step"] == "waiting" and experiment["status"] not in show.OVER
        output.data(f"{experiment['label']} queued: {show.waiting(experiment)}" if is_waiting else experiment["label"])
    return 0
