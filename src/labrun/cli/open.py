"""`lab open`: a shell in an experiment's folder, or its path for a program."""

import os
import subprocess
from typing import TYPE_CHECKING

import click

from labrun.cli import surroundings
from labrun.cli.connect import chosen_host, connect, resolve
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import visible
from labrun.core.errors import NotAllowedNow, NotFound

if TYPE_CHECKING:  # start-up time: only with another machine in front
    from labrun.client.host import Address


@click.command("open")
@click.argument("reference", metavar="[EXPERIMENT]", default="latest")
@click.option("--work", is_flag=True, help="The working copy it ran in.")
@click.option("--outputs", is_flag=True, help="The folder of its results.")
@common_options
@click.pass_obj
def open_folder(output: Output, reference: str, work: bool, outputs: bool, lab: str) -> int:
    """Start your shell in an experiment's folder; leave it with `exit`.

    Where output is no terminal, or with --quiet, the path is printed: `cd "$(lab open --quiet EXP-054)"`.

    \b
    Example:
      lab open EXP-054 --outputs
    """
    client = connect(output, lab)
    one = client.experiment(resolve(client, reference))["experiment"]
    if one["folder"] is None:
        raise NotAllowedNow("open", one["label"], "without a folder", "after its first attempt was begun")
    path = os.path.join(one["folder"], "outputs" if outputs else "work" if work else "")  # noqa: PTH118  text
    path = path.rstrip("/")
    if (host := chosen_host()) is not None:
        return _open_there(output, host, one["label"], path)
    if not os.path.isdir(path):  # noqa: PTH112
        raise NotFound(path, lab)
    if output.face == "json":
        output.json({"label": one["label"], "path": path})
        return 0
    if output.face == "quiet" or not (output.is_terminal and os.isatty(0)):
        output.data(path)
        return 0
    shell = surroundings.caller_variables().get("SHELL") or "/bin/sh"
    output.say(f"lab: {one['label']} in {visible(path)}; `exit` comes back")
    return subprocess.run([shell], cwd=path, check=False).returncode


def _open_there(output: Output, host: "Address", label: str, path: str) -> int:
    """The same on another machine; `ssh` asks for a terminal there."""
    if output.face == "json":
        output.json({"label": label, "path": path, "host": host.shown})
    elif output.face == "quiet" or not (output.is_terminal and os.isatty(0)):
        output.data(f"{host.name}:{path}")
    else:
        from labrun.client.host import shell_command  # start-up time: only with another machine in front

        output.say(f"lab: {label} in {visible(path)} on {host.shown}; `exit` comes back")
        return subprocess.run(shell_command(host, path), check=False).returncode
    return 0
