"""`lab resubmit`: a new experiment, identical to an old one."""

from typing import Literal

import click

from labrun.cli.again import rerun
from labrun.cli.options import common_options
from labrun.cli.output import Output


@click.command()
@click.argument("reference", metavar="EXPERIMENT")
@click.option(
    "--code",
    type=click.Choice(["same", "now"]),
    default="same",
    show_default=True,
    help="The frozen code, or the source folder as it is now.",
)
@click.option("--env", multiple=True, metavar="KEY[=VALUE]", help="Set a variable, or pass one of yours.")
@common_options
@click.pass_obj
def resubmit(output: Output, reference: str, code: Literal["same", "now"], env: tuple[str, ...], lab: str) -> int:
    """Queue a new experiment that is the same as an old one: code, arguments, configuration, seed, words.

    The old one becomes its parent and is not touched, whether it is over or still runs. Variables are
    those of this shell; what else is not as it was (packages, data) is said. To go on with the old one
    instead: `lab resume`. To change arguments: `lab requeue`.

    \b
    Example:
      lab resubmit EXP-054
    """
    return rerun(output, lab, reference, {"kind": "resubmit", "code": code}, env)
