"""The question asked once for a project: which of the things that are not frozen should stay live."""

import sys
from typing import Any

from labrun.cli.output import Output
from labrun.cli.table import visible
from labrun.client.api import Client
from labrun.core.units import show_size

_SHOWN = 8


def ask_about_links(output: Output, client: Client, request: dict[str, Any]) -> None:
    """Ask, unless it was answered before or the command line says it; the answer goes with the request."""
    source = request["spec"]["source"]
    if "links" in request or "root" not in source or source.get("is_live") or source.get("only"):
        return
    found = client.survey(source["root"])
    if found["is_known"] or not found["unfrozen"]:
        return
    entries = found["unfrozen"]
    output.insist(f"lab: not frozen with {visible(source['root'])}:")
    for entry in entries[:_SHOWN]:
        kind = "/" if entry["is_folder"] else ""
        output.insist(f"  {visible(entry['place'])}{kind}  {show_size(entry['size_bytes'])}, {entry['why']}")
    if len(entries) > _SHOWN:
        output.insist(f"  and {len(entries) - _SHOWN} more")
    output.insist_part("Does the script need some of it? Names to keep live (as links), or Enter for none: ")
    answer = sys.stdin.readline().replace(",", " ").split()
    known = {entry["place"] for entry in entries}
    request["links"] = [word.rstrip("/") for word in answer if word.rstrip("/") in known]
    request["remember_links"] = True
    for word in answer:
        if word.rstrip("/") not in known:
            output.insist(f"lab: `{visible(word)}` is none of them; `--link {visible(word)}` adds it")
    output.insist("lab: remembered for this folder; `--link PATH` says it anew")
