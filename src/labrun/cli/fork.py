"""`lab fork`: clone an experiment, change some fields, queue it."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import click

from labrun.cli.again import rerun
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.core.errors import BadDescription
from labrun.core.faults import Fault, show_path
from labrun.core.layers import MERGED
from labrun.core.rerun import change_faults


@click.command()
@click.argument("reference", metavar="EXPERIMENT")
@click.argument("arguments", metavar="[-- ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="A field as in an experiment file.")
@click.option(
    "--code",
    type=click.Choice(["same", "now"]),
    default="now",
    show_default=True,
    help="The source folder as it is now, or the code frozen then.",
)
@click.option("--env", multiple=True, metavar="KEY[=VALUE]", help="Set a variable, or pass one of yours.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Show old and new command line side by side, submit nothing.")
@common_options
@click.pass_obj
def fork(
    output: Output,
    reference: str,
    arguments: tuple[str, ...],
    changes: tuple[str, ...],
    code: Literal["same", "now"],
    env: tuple[str, ...],
    is_dry: bool,
    lab: str,
) -> int:
    """Queue a changed copy of an experiment: `lab clone`, an edit, and `lab queue -f` in one step.

    --set takes the fields of an experiment file (`lab schema` lists them): resources.gpus=2, name=wide,
    timeout=4h, tags=a,b, inputs.train=data.csv. What runs and where is changed in the file `lab clone`
    writes. Arguments after `--` are added at the end. The code is taken as it is now.

    \b
    Example:
      lab fork EXP-054 --set resources.gpus=2 --set name=two-gpus
    """
    request = {"kind": "requeue", "arguments": list(arguments), "code": code, "is_dry": is_dry}
    return rerun(output, lab, reference, {**request, "changes": read_changes(changes, Path.cwd())}, env)


def read_changes(given: tuple[str, ...], cwd: Path) -> dict[str, Any]:
    """Read what `--set` was given; paths become absolute.

    Raises:
        BadDescription: Something is wrong; everything is listed.
    """
    found: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    for text in given:
        field, equals, written = text.partition("=")
        table, dot, member = field.partition(".")
        if not (field and equals) or (dot and (table not in MERGED or not member)):
            wrong.append((text, "give FIELD=VALUE, such as `resources.gpus=2` or `name=wide`"))
            continue
        value, faults = _value(table, member, written)
        wrong += [(f"--set {show_path(fault.path)}", fault.text) for fault in faults]
        if member:
            found.setdefault(table, {})[member] = value
        else:
            found[field] = value
    if wrong:
        raise BadDescription("`--set`", wrong, "`lab schema` says what is allowed")
    return _absolute(found, cwd)


def _value(field: str, member: str, written: str) -> tuple[Any, list[Fault]]:
    """Take the first reading that fits the field: as JSON (numbers, lists), as text, as words between commas."""
    readings: list[Any] = [written, written.split(",")]
    if field != "env":  # a variable is text, as it stands
        with suppress(ValueError):
            readings.insert(0, json.loads(written))
    tried = [(value, change_faults({field: {member: value} if member else value})) for value in readings]
    return next(((value, faults) for value, faults in tried if not faults), tried[0])


def _absolute(changes: dict[str, Any], cwd: Path) -> dict[str, Any]:
    def absolute(path: str) -> str:
        return str(cwd / Path(path).expanduser())

    if "config" in changes:
        given = changes["config"]
        changes["config"] = [absolute(path) for path in ([given] if isinstance(given, str) else given)]
    if "inputs" in changes:
        changes["inputs"] = {name: absolute(path) for name, path in changes["inputs"].items()}
    if "python" in changes:
        changes["python"] = absolute(changes["python"])
    return changes
