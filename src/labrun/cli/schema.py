"""`lab schema`: print the JSON Schema of an experiment file."""

import json

import click

from labrun.cli.options import face_options
from labrun.cli.output import Output


@click.command()
@face_options
@click.pass_obj
def schema(output: Output) -> int:
    """Print the JSON Schema of an experiment file, for completion and checks in an editor.

    No home and no server is needed. --json prints it in one line.

    \b
    Example:
      lab schema > experiment.schema.json
    """
    from labrun.wire.schema import description_schema  # start-up time: nothing else needs the types of the wire

    found = description_schema()
    if output.face == "json":
        output.json(found)
    else:
        output.data(json.dumps(found, indent=2))
    return 0
