"""`lab annotate`: the same as `lab note`, in the words of other tools."""

import click

from labrun.cli.note import add, text_of
from labrun.cli.options import common_options
from labrun.cli.output import Output


@click.command()
@click.argument("reference", metavar="EXPERIMENT")
@click.option("--note", "text", required=True, metavar="TEXT", help="What you want to say.")
@click.option("--author", metavar="NAME", help="Who says it; your login name unless given.")
@common_options
@click.pass_obj
def annotate(output: Output, reference: str, text: str, author: str | None, lab: str) -> int:
    """Add a dated remark, as `lab note` does.

    \b
    Example:
      lab annotate EXP-054 --note "looks converged" --author ada
    """
    add(output, reference, text_of((text,), None), author, lab)
    return 0
