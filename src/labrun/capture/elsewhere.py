"""A submit to another machine: what is looked for there, what is taken here, and what makes no sense from afar."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labrun.capture.caller import Elsewhere
from labrun.capture.placement import Placement
from labrun.core.errors import BadValue, NotRunnable


def python_there(
    wanted: str | None, there: Elsewhere, variables: Mapping[str, str], place_of: Callable[[str], str]
) -> Path:
    """The interpreter on another machine, which looks whether it is there when it accepts."""
    if wanted is None:
        if there.python is None:
            raise NotRunnable("python3", f"no Python on PATH of {there.name}", "name one: `--python PATH`")
        return Path(there.python)
    return Path(
        path_there(wanted, variables, place_of("python"), f"an absolute path on {there.name}, or one below `~/`")
    )


def path_there(given: str, variables: Mapping[str, str], place: str, expected: str) -> str:
    """A path on the other machine; `~/` is the home of the login there.

    Raises:
        BadValue: It is relative, and to what would not be known.
    """
    path = variables.get("HOME", "~") + given[1:] if given.startswith("~/") else given
    if not path.startswith("/"):
        raise BadValue(place, given, expected)
    return path


def placement_there(
    placement: Placement, description: Mapping[str, Any], there: Elsewhere, cwd: Path, place_of: Callable[[str], str]
) -> Placement:
    """What can be uploaded; what only this machine has is refused.

    Raises:
        BadValue: It would run in a folder the other machine does not have.
    """
    for field in ("live", "links"):
        if description.get(field):
            raise BadValue(
                place_of(field), description[field], f"nothing: {there.name} does not see this machine's files"
            )
    if placement.root is None:
        notice = (
            f"nothing is frozen: {cwd} is no project (.git, lab.toml or pyproject.toml); it runs in an empty folder"
        )
        return placement._replace(cwd=".", is_live=False, notices=(notice,))
    if placement.is_live:
        expected = f"a folder below {placement.root}, which is uploaded; `cd` there"
        raise BadValue("working directory", str(cwd), expected)
    return placement
