"""`lab init`: make a home."""

from pathlib import Path

import click

from labrun import settings
from labrun.cli.connect import done_there
from labrun.cli.options import face_options
from labrun.cli.output import Output
from labrun.cli.serve import init_home


@click.command()
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep queue, index and socket here, on a local disk; for homes on NFS.",
)
@face_options
@click.pass_obj
def init(output: Output, state: Path | None) -> int:
    """Make the home ($LAB_HOME, else ~/lab). Not needed unless it lies on NFS: the first command does it.

    \b
    Example:
      LAB_HOME=/nfs/group/lab lab init --state /var/tmp/lab-state
    """
    if (there := done_there(output, "init", *(["--state", str(state)] if state is not None else []))) is not None:
        return there
    root = init_home(settings.home_path(), state.absolute() if state is not None else None)
    if output.face == "json":
        output.json({"home": str(root), "state": str(state.absolute()) if state is not None else None})
    elif output.is_human:
        output.data(f"home: {root}")
    return 0
