"""`lab pull`: files of an experiment, copied to here and checked."""

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

import click

from labrun.cli import exit as statuses
from labrun.cli.connect import connect, resolve
from labrun.cli.download import compare, fetch, target_of
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import visible
from labrun.core.errors import NotFound
from labrun.core.units import show_size

_CODE = "work/"


@click.command()
@click.argument("reference", metavar="EXPERIMENT")
@click.argument("globs", metavar="[GLOB]...", nargs=-1)
@click.option("-o", "--to", "folder", metavar="DIR", help="Where to; a folder of the experiment's name unless given.")
@click.option("--force", is_flag=True, help="Replace files that are there and differ.")
@common_options
@click.pass_obj
def pull(output: Output, reference: str, globs: tuple[str, ...], folder: str | None, force: bool, lab: str) -> int:
    """Copy an experiment's files from where it ran, each checked against its seal.

    Everything but the working copy of the code, unless GLOB says which: `outputs/*.csv`, `'work/*'`; a
    `*` goes over `/`, a name without one is a file or a whole folder. What is here already and is the same is
    left alone, so a pull that was cut goes on; what differs is kept and named, unless --force.

    \b
    Example:
      lab --host box pull EXP-054 'outputs/*'
    """
    client = connect(output, lab)
    label = resolve(client, reference)
    listing = client.files(label)
    wanted = [file for file in listing["files"] if is_wanted(file["path"], globs)]
    if globs and not wanted:
        raise NotFound(f"{listing['label']} {' '.join(globs)}", lab)
    top = Path(folder).expanduser() if folder else target_of(Path(), os.path.basename(listing["folder"]))  # noqa: PTH119  there
    done, same, kept = 0, 0, list[str]()
    size_bytes = 0
    for file in wanted:
        target = target_of(top, file["path"])
        match compare(target, file):
            case "same":
                same += 1
                continue
            case "other" if not force:
                kept.append(file["path"])
                continue
        size_bytes += fetch(client, label, file, target)
        done += 1
    facts = {"label": listing["label"], "folder": str(top.absolute()), "copied": done, "bytes": size_bytes}
    if output.face == "json":
        output.json({**facts, "unchanged": same, "kept": kept, "links": listing["links"]})
    elif output.face == "quiet":
        output.data(str(top))
    else:
        files = f"{done} file{'' if done == 1 else 's'}, {show_size(size_bytes)}"
        also = f", {same} were here" if same else ""
        output.data(f"{listing['label']}: {files}, to {visible(str(top))}{also}")
    for path in kept:
        output.insist(f"lab: kept, it differs from the one there: {visible(str(target_of(top, path)))}")
    if kept:
        output.insist("lab: --force replaces them")
    links = [path for path in listing["links"] if is_wanted(path, globs)]
    if links:
        output.say(f"lab: links are not copied: {visible(', '.join(links[:5]))}{' …' if len(links) > 5 else ''}")
    return statuses.REFUSED if kept else statuses.GOOD


def is_wanted(path: str, globs: Sequence[str]) -> bool:
    """Whether a file is asked for.

    >>> is_wanted("outputs/a.csv", ["*.csv"]), is_wanted("work/x.py", []), is_wanted("work/x.py", ["work"])
    (True, False, True)
    """
    if not globs:
        return not path.startswith(_CODE)
    plain = (glob.rstrip("/") for glob in globs)
    return any(fnmatch.fnmatchcase(path, glob) or path.startswith(f"{glob}/") for glob in plain)
