"""`lab requeue`: a new experiment from an old one, with other arguments."""

from typing import Any, Literal

import click

from labrun.cli.again import rerun
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.core.errors import BadValue


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("reference", metavar="EXPERIMENT")
@click.argument("arguments", metavar="-- [ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--append", "modes", flag_value="append", multiple=True, help="Add ARGS at the end (the default).")
@click.option("--replace", "modes", flag_value="replace", multiple=True, help="Take ARGS alone.")
@click.option("--merge", "modes", flag_value="merge", multiple=True, help="Override options in place, keep the rest.")
@click.option("--stage", "staged", multiple=True, metavar="FILE", help="Copy a file of EXPERIMENT's folder.")
@click.option(
    "--code",
    type=click.Choice(["same", "now"]),
    default="same",
    show_default=True,
    help="The frozen code, or the source folder as it is now.",
)
@click.option("--name", metavar="TEXT", help="A name to find it by; the old one unless given.")
@click.option("--note", metavar="TEXT", help="Why you run it; the old note unless given.")
@click.option("--env", multiple=True, metavar="KEY[=VALUE]", help="Set a variable, or pass one of yours.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Show old and new command line side by side, submit nothing.")
@common_options
@click.pass_obj
def requeue(output: Output, /, reference: str, code: Literal["same", "now"], lab: str, **chosen: Any) -> int:
    """Queue a new experiment: an old one with other arguments. The old one becomes its parent.

    Everything after `--` belongs to the script. --merge reads both command lines as getopt and argparse
    do: `--lr 0.2` overrides `--lr=0.1`, `--no-x` overrides `--x`; where that is ambiguous it is refused.

    --stage copies a file the old experiment left behind, such as a checkpoint, into the new one's
    folder; `{staged}` among the arguments becomes its place (`{staged:NAME}` if there are several).

    \b
    Example:
      lab requeue EXP-054 --merge -- --epochs 200
      lab requeue EXP-054 --stage outputs/model.pt -- --resume-from '{staged}'
    """
    modes = sorted(set(chosen["modes"]))
    if len(modes) > 1:
        raise BadValue(f"--{modes[0]}", f"--{modes[1]}", "given too: say one of them")
    request: dict[str, Any] = {
        "kind": "requeue",
        "arguments": list(chosen["arguments"]),
        "mode": modes[0] if modes else "append",
        "code": code,
        "staged": list(chosen["staged"]),
        "is_dry": chosen["is_dry"],
    }
    request["changes"] = {field: chosen[field] for field in ("name", "note") if chosen[field] is not None}
    return rerun(output, lab, reference, request, chosen["env"])
