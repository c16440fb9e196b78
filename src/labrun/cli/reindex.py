"""`lab reindex`: rebuild the index from the folders."""

import click

from labrun.cli.connect import connect
from labrun.cli.options import face_options
from labrun.cli.output import Output


@click.command()
@face_options
@click.pass_obj
def reindex(output: Output) -> int:
    """Rebuild the index from the experiments' folders. Nothing can be lost by it.

    \b
    Example:
      lab reindex
    """
    found = connect(output).reindex()
    if output.face == "json":
        output.json(found)
    elif output.is_human:
        output.data(f"{found['experiments']} experiments indexed")
    return 0
