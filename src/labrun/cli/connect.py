"""A client for the caller's home, and what references mean in the caller's directory."""

from functools import partial
from pathlib import Path

from labrun import settings
from labrun.cli.output import Output
from labrun.client.address import socket_of
from labrun.client.api import Client
from labrun.client.reference import label_in_path


def connect(output: Output, lab: str = "main", *, may_start: bool = True) -> Client:
    """Make a client; the first request starts a server when none runs."""
    home = settings.home_path()
    return Client(socket_of(home), lab, start=partial(start, home, output) if may_start else None)


def start(home: Path, output: Output) -> None:
    """Start a server and pass on, in one line each, what it has to say."""
    from labrun.cli.surroundings import is_inside_experiment, server_variables  # start-up time: once per server
    from labrun.client.start import ensure

    ensure(
        home,
        socket_of(home),
        server_variables(),
        lambda notice: output.say(f"lab: {notice}"),
        is_inside=is_inside_experiment(),
    )


def resolve(client: Client, reference: str) -> str:
    """Turn a path into the label of the experiment it lies in; everything else is the server's to resolve.

    A name with a slash in it would not pass as one piece of a target, so it is looked up here.
    """
    if "/" not in reference and reference not in (".", ".."):
        return reference
    label = label_in_path(reference, Path.cwd(), settings.home_path() / "labs")
    if label is not None:
        return label
    found = [
        one["label"] for one in client.experiments(limit=50, name=reference)["experiments"] if one["name"] == reference
    ]
    if len(found) == 1:
        return str(found[0])
    from labrun.core.errors import AmbiguousReference, NotFound  # start-up time: only when it is refused

    if found:
        raise AmbiguousReference(reference, found)
    raise NotFound(reference, client.lab)
