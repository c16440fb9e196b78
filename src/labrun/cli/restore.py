"""`lab restore`: the code an experiment ran with, back as files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from labrun.cli.connect import connect, resolve
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import visible

if TYPE_CHECKING:  # start-up time: only with another machine in front
    from labrun.client.remote import RemoteClient


@click.command()
@click.argument("reference", metavar="EXPERIMENT")
@click.argument("folder", metavar="DIR")
@common_options
@click.pass_obj
def restore(output: Output, reference: str, folder: str, lab: str) -> int:
    """Write the code an experiment was submitted with into DIR, which must be empty or new.

    Every file is checked against its hash: what is restored is what was submitted and what ran.
    Nothing that exists is written over. What was live (linked data, `--live`) is named, not restored;
    the packages, configuration and input it was given lie in `submitted/` of its folder. --quiet prints
    the hash of the tree alone.

    \b
    Example:
      lab restore EXP-054 ../as-it-was
    """
    from labrun.core.errors import BadValue  # start-up time: `lab restore --help` does without

    # links stay as they are typed: the server makes what is missing, below the folder that was meant
    destination = os.path.abspath(Path(folder).expanduser()) if folder else ""  # noqa: PTH100
    try:
        destination.encode()
    except UnicodeEncodeError as error:
        raise BadValue("folder", folder, "a name that is UTF-8") from error
    client = connect(output, lab)
    if client.is_remote:
        from labrun.cli.bring import bring  # start-up time: only with another machine in front

        restored = bring(cast("RemoteClient", client), resolve(client, reference), destination)
    else:
        restored = client.restore(resolve(client, reference), destination)
    if output.face == "json":
        output.json(restored)
        return 0
    for notice in restored["notices"]:
        output.say(f"lab: {visible(notice)}")
    if output.face == "quiet":
        output.data(restored["tree"])
    else:
        count = restored["file_count"]
        files = f"{count:,} file{'' if count == 1 else 's'}"
        output.data(f"{restored['label']}: {files} restored to {visible(destination)}, tree {restored['tree'][:12]}")
    return 0
