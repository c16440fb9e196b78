"""One command over several experiments: what is refused is told, the others are done all the same."""

from collections.abc import Callable
from typing import Any

from labrun.cli import exit as statuses
from labrun.cli.connect import resolve
from labrun.cli.output import Output
from labrun.cli.table import visible
from labrun.client.api import Client


def each(
    output: Output,
    client: Client,
    references: tuple[str, ...],
    act: Callable[[str], dict[str, Any]],
    tell: Callable[[dict[str, Any]], str],
) -> tuple[list[dict[str, Any]], int]:
    """Do it to each; returns the answers and the exit status, the gravest refusal's.

    Raises:
        LabError: There is but one, and it is refused.
    """
    from labrun.core.errors import LabError  # start-up time: `--help` of these commands does without

    done, status = [], 0
    for reference in references:
        try:
            one = act(resolve(client, reference))
        except LabError as error:
            if len(references) == 1:
                raise
            output.insist(f"lab: {visible(error.message)}")
            status = max(status, statuses.of_error(error.code))
            continue
        done.append(one)
        if output.is_human:
            output.data(tell(one))
    return done, status
