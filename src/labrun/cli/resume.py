"""`lab resume`: the same experiment, its next attempt."""

import click

from labrun.capture import caller
from labrun.cli import show
from labrun.cli.connect import connect, resolve, variables_for
from labrun.cli.options import common_options
from labrun.cli.output import Output


@click.command()
@click.argument("reference", metavar="EXPERIMENT")
@click.option("--env", multiple=True, metavar="KEY[=VALUE]", help="Set a variable, or pass one of yours.")
@common_options
@click.pass_obj
def resume(output: Output, reference: str, env: tuple[str, ...], lab: str) -> int:
    """Let a failed or cancelled experiment go on: same code, same folder, next attempt.

    Its variables are those of this shell; the ones it had were forgotten when it ended.

    \b
    Example:
      lab resume EXP-054
    """
    client = connect(output, lab)
    variables, left_out = caller.variables_to_send(variables_for(client), env)
    one = client.resume(resolve(client, reference), by=caller.user_name(), variables=variables)
    if left_out:
        output.say(f"lab: not passed on, not UTF-8: {', '.join(left_out)}")
    if output.face == "json":
        output.json(one)
    elif output.is_human:
        stands = show.waiting(one) if one["step"] == "waiting" else show.state(one)
        output.data(f"{one['label']} goes on with attempt {one['attempt']}: {stands}")
    return 0
