"""A client for the caller's home, and what references mean in the caller's directory."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from labrun import settings
from labrun.cli.output import Output
from labrun.client.address import socket_of
from labrun.client.api import Client
from labrun.client.reference import label_in_path

if TYPE_CHECKING:  # start-up time: only with another machine in front
    from labrun.client.host import Address, Host
    from labrun.client.remote import RemoteClient

_TAB_S = 2
"""How long the tab key waits for another machine."""
_HOSTS: dict["Address", "Host"] = {}
"""Each machine once for the whole command: what it said of itself is asked for once."""


def connect(output: Output, lab: str = "main", *, may_start: bool = True) -> Client:
    """Make a client; the first request starts a server when none runs."""
    chosen = chosen_host()
    if chosen is not None:
        return _remote(output, lab, chosen)
    home = settings.home_path()
    return Client(socket_of(home), lab, start=partial(start, home, output) if may_start else None)


def chosen_host(context: click.Context | None = None) -> "Address | None":
    """The machine this command is for; None: this one.

    Args:
        context: Of a command line that is only being completed; else that of the running command.

    Raises:
        RequestError: What was said is no machine.
    """
    said = settings.host(chosen_word(context))
    if said is None:
        return None
    from labrun.client.host import parse_address  # start-up time: only with another machine in front

    return parse_address(said.text, said.given, said.place)


def chosen_word(context: click.Context | None = None) -> str | None:
    """What `--host` was given."""
    context = context or click.get_current_context(silent=True)
    return context.find_root().params.get("host") if context is not None else None


def done_there(output: Output, *words: str) -> int | None:
    """Let a command about the home itself run on the machine of the home; its exit status, None: it is this one.

    Args:
        output: Its face is asked for there too.
        words: The command and its own options.

    Raises:
        LabError: That machine cannot be reached, or has no lab.
    """
    if (chosen := chosen_host()) is None:
        return None
    from labrun.client.host import kept_lines_folder, run_there  # start-up time: only with another machine in front

    face = [] if output.is_human else [f"--{output.face}"]
    return run_there(
        chosen,
        kept_lines_folder(settings.runtime_folder()),
        ["--host", "local", *words, *face],
        may_ask=is_somebody_there(),
        has_terminal=output.is_terminal and is_somebody_there(),
    )


def _remote(output: Output, lab: str, address: "Address") -> "RemoteClient":
    from labrun.client.host import Host, kept_lines_folder  # start-up time: only with another machine in front
    from labrun.client.remote import RemoteClient

    if address not in _HOSTS:
        kept = kept_lines_folder(settings.runtime_folder())
        _HOSTS[address] = Host(address, kept, may_ask=is_somebody_there())
    return RemoteClient(_HOSTS[address], lab, say=lambda text: output.insist(f"lab: {text}"))


def connect_quickly(context: click.Context, lab: str) -> Client:
    """A client for somebody who pressed the tab key: nothing is started, nobody is asked, and it gives up soon."""
    address = chosen_host(context)
    if address is None:
        return Client(socket_of(settings.home_path()), lab)
    from labrun.client.host import Host, kept_lines_folder  # start-up time: only with another machine in front
    from labrun.client.remote import RemoteClient

    host = Host(address, kept_lines_folder(settings.runtime_folder()), may_ask=False)
    return RemoteClient(host, lab, say=lambda _: None, first_s=_TAB_S)


def is_somebody_there() -> bool:
    """Whether a question is seen and can be answered: a job in the background would be stopped by reading."""
    try:
        return os.isatty(0) and os.isatty(2) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # a terminal, but not the one this session belongs to
        return False


def label_of(client: Client, reference: str) -> str:
    """The label behind a reference, for an answer that names what was meant."""
    return reference if reference.startswith("EXP-") else str(client.experiment(reference)["experiment"]["label"])


def variables_for(client: Client) -> Mapping[str, str]:
    """The variables an experiment starts from: this shell's, or those of the login on the other machine."""
    if client.is_remote:
        found: Mapping[str, str] = cast("RemoteClient", client).introduction["variables"]
        return found
    from labrun.cli.surroundings import caller_variables  # start-up time: a submit alone needs them

    return caller_variables()


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
    label = label_in_path(reference, Path.cwd(), settings.home_path() / "labs") if not client.is_remote else None
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
