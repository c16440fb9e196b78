"""`lab tree`: an experiment, what it follows from, and what followed from it."""

from collections.abc import Iterator
from typing import Any

import click

from labrun.cli import show
from labrun.cli.connect import connect, resolve
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import cells, shorten, visible
from labrun.client.api import Client
from labrun.core.errors import NotFound

_CHILDREN = 200
_DEEP = 50
"""So far up and down; a chain that is longer is cut, and says so."""


@click.command()
@click.argument("reference", metavar="[EXPERIMENT]", default="latest")
@common_options
@click.pass_obj
def tree(output: Output, reference: str, lab: str) -> int:
    """Show the family of an experiment: parents above, what followed from it below.

    \b
    Example:
      lab tree EXP-054
    """
    client = connect(output, lab)
    own = client.experiment(resolve(client, reference))["experiment"]
    top, missing = _climb(client, own)
    root = _grow(client, top, 0)
    if output.face == "json":
        output.json(root)
        return 0
    if output.face == "quiet":
        output.data(*_labels(root))
        return 0
    lines = [missing] if missing else []
    lines += _draw(output, root, own["run_id"], "", "")
    output.data(*lines)
    return 0


def _labels(one: dict[str, Any]) -> Iterator[str]:
    """Every label, parents before their children."""
    yield one["label"]
    for child in one["children"]:
        yield from _labels(child)


def _climb(client: Client, one: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The oldest ancestor that is shown, and why the one above it is not."""
    for _ in range(_DEEP):
        if one["parent"] is None:
            return one, None
        try:
            one = client.experiment(one["parent"])["experiment"]
        except NotFound:
            return one, f"{one['parent']} (not in this home)"
    return one, f"… {one['parent']} and those above it: `lab tree {one['label']}`" if one["parent"] else None


def _grow(client: Client, one: dict[str, Any], depth: int) -> dict[str, Any]:
    page = client.experiments(limit=_CHILDREN if depth < _DEEP else 1, parent=one["run_id"])
    found = page["experiments"] if depth < _DEEP else []
    children = [_grow(client, child, depth + 1) for child in reversed(found)]
    is_cut = page["next"] is not None if found else bool(page["experiments"])
    return {**one, "children": children, "is_cut": is_cut}


def _draw(output: Output, one: dict[str, Any], own: str, here: str, below: str) -> list[str]:
    state = show.paint(output, show.state(one), one)
    told = one["note"] or one["hypothesis"] or show.command(one)
    mark = "  <" if one["run_id"] == own else ""
    name = f" {visible(one['name'])}" if one["name"] else ""
    said = visible(told.partition("\n")[0])
    if output.width is not None:
        used = cells(f"{here}{one['label']}{name}  {show.state(one)}  {mark}")
        said = shorten(said, max(8, output.width - used))
    lines = [f"{here}{one['label']}{name}  {state}  {said}{mark}"]
    for position, child in enumerate(one["children"]):
        is_last = position == len(one["children"]) - 1
        joint, stem = ("└── ", "    ") if is_last else ("├── ", "│   ")
        lines += _draw(output, child, own, below + joint, below + stem)
    if one["is_cut"]:
        lines.append(f"{below}… more: `lab list --parent {one['label']}`")
    return lines
