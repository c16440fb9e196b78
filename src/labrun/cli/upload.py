"""A submit to a lab on another machine: what it runs is uploaded first, as far as it is not there."""

from pathlib import Path
from typing import Any

from labrun import delivery, settings
from labrun.capture.caller import Caller, Elsewhere, host_name
from labrun.cli import surroundings
from labrun.cli.output import Output
from labrun.cli.table import visible
from labrun.client.remote import RemoteClient
from labrun.core.units import show_size

_TOLD_FROM_BYTES = 4 * 2**20


def caller_elsewhere(client: RemoteClient, cwd: Path, home: Path) -> Caller:
    """Who submits from here to there: this machine's files, the login's variables and pods of that one."""
    there = client.introduction
    own = Path(surroundings.caller_variables().get("HOME") or "/")
    elsewhere = Elsewhere(client.where, there["python"], own)
    return Caller(cwd, there["variables"], there["user"], host_name(), home, there["pods"], there["process"], elsewhere)


def deliver(output: Output, client: RemoteClient, request: dict[str, Any], cwd: Path) -> dict[str, Any]:
    """Upload what a request needs; returns the request that says so.

    Raises:
        LabError: Something cannot be read, is too big, or the line was lost for too long; nothing was submitted.
    """
    chosen = settings.load(settings.home_path())
    limits = delivery.Limits(chosen.code_limit_bytes, chosen.code_limit_files)
    variables = surroundings.caller_variables()
    cache = settings.cache_folder()
    with delivery.in_cache(cache):
        packed = delivery.pack(request, cwd=cwd, variables=variables, cache=cache, limits=limits)
        output.say(*(f"lab: {visible(notice)}" for notice in packed.notices))
        for tree in packed.trees:
            _upload(output, client, packed, tree)
    source = {field: value for field, value in request["spec"]["source"].items() if field != "only"}
    source.setdefault("root", str(cwd))
    spec = {**request["spec"], "source": source}
    rest = {field: value for field, value in request.items() if field != "configs"}
    return {**rest, "spec": spec, "delivered": packed.delivered}


def _upload(output: Output, client: RemoteClient, packed: delivery.Packed, tree: str) -> None:
    """Bring one tree there: a store that has a tree has all of it, so an unchanged one costs one question."""
    if not client.missing([tree]):
        return
    objects = delivery.Objects(packed, tree)
    missing = client.missing(objects.names)
    if (size := objects.size_bytes(missing)) >= _TOLD_FROM_BYTES:
        output.say(f"lab: {show_size(size)} to {client.where}: {len(missing)} of {len(objects.names)} objects are new")
    for size, pieces in objects.pieces(missing):
        client.upload(size, pieces)
