"""The question asked once for a project: which of the things that are not frozen should stay live."""

import sys
from collections.abc import Sequence
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
    for number, entry in enumerate(entries[:_SHOWN], start=1):
        kind = "/" if entry["is_folder"] else ""
        size = show_size(entry["size_bytes"])
        output.insist(f"  {number}  {visible(entry['place'])}{kind}  {size}, {entry['why']}")
    if len(entries) > _SHOWN:
        output.insist(f"  and {len(entries) - _SHOWN} more")
    output.insist_part("Does the script need some of it? Numbers or names to keep live (as links), or Enter for none: ")
    answer = sys.stdin.readline()
    if not answer:  # end of file: nobody answered, so it is asked again next time
        output.insist("", "lab: no answer; none of it is linked this time")
        return
    chosen, strange = read_answer(answer, [entry["place"] for entry in entries])
    request["links"], request["remember_links"] = chosen, True
    for word in strange:
        output.insist(f"lab: `{visible(word)}` is none of them; `--link {visible(word)}` adds it")
    kept = f"{', '.join(map(visible, chosen))} will be links" if chosen else "none of it is linked"
    output.insist(f"lab: {kept}; remembered for this folder, `--link PATH` says it anew")


def read_answer(answer: str, places: Sequence[str]) -> tuple[list[str], list[str]]:
    r"""Read which of the places were meant, by number or name; the whole answer may be one name with blanks.

    >>> read_answer("2, results/ plots\n", ["data", "results"])
    (['results'], ['plots'])

    Returns:
        Places in the order they were listed, and the words that mean none of them.
    """
    words = answer.replace(",", " ").split()
    if answer.strip().rstrip("/") in places:
        words = [answer.strip()]
    numbers = {str(number): place for number, place in enumerate(places, start=1)}
    meant = {word: word.rstrip("/") if word.rstrip("/") in places else numbers.get(word) for word in words}
    return [place for place in places if place in meant.values()], [word for word in words if meant[word] is None]
