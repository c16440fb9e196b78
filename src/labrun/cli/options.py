"""Options every command has: which face, which lab."""

from collections.abc import Callable
from typing import Any

import click

from labrun.cli.output import Face, Output


def _choose(face: Face) -> Callable[[click.Context, click.Parameter, bool], None]:
    def choose(ctx: click.Context, parameter: click.Parameter, is_chosen: bool) -> None:
        if is_chosen:
            ctx.find_object(Output).face = face  # type: ignore[union-attr]  # main puts one there

    return choose


def face_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json` and `--quiet`; kept out of the command's arguments."""
    quiet = click.option(
        "--quiet",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_choose("quiet"),
        help="Say nothing but the essential and what went wrong.",
    )
    as_json = click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_choose("json"),
        help="Print JSON for programs.",
    )
    return as_json(quiet(command))


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--lab`, `--json` and `--quiet`."""
    option = click.option("--lab", default="main", metavar="NAME", help="The lab; `main` unless given.")
    return option(face_options(command))
