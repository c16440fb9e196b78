"""What a submit would do, without doing it: `--dry-run`, `--validate`, `--explain`. Starts nothing, makes nothing."""

import shlex
from typing import TYPE_CHECKING, Any

from labrun.cli.output import Output, fields
from labrun.cli.table import visible
from labrun.core.layers import DEFAULTS
from labrun.core.units import show_size

if TYPE_CHECKING:
    from labrun.cli.submission import Submission

_SHOWN_VALUE = 60


def show(output: Output, submission: "Submission", *, is_table: bool, is_prose: bool) -> None:
    """Print it in the face that was asked for."""
    if output.face == "json":
        output.json(_document(submission))
        return
    if is_table:
        output.data(*_table(submission))
    if is_prose:
        output.data(*_prose(submission))
    if not (is_table or is_prose) and output.is_human:
        output.data("valid: nothing was submitted")
    output.say(*(f"lab: {visible(notice)}" for notice in submission.notices))
    if submission.hint:
        output.say(f"lab: {visible(submission.hint)}")


def _document(submission: "Submission") -> dict[str, Any]:
    """The request with the names of its variables; values may be secrets, and are nobody's business here."""
    request = {**submission.request, "variables": sorted(submission.request["variables"])}
    request.pop("stdin", None)
    given = submission.merged
    origins = {field: "default" for field in DEFAULTS if field not in given.description} | given.origins
    return {"request": request, "origins": origins, "notices": submission.notices, "is_submitted": False}


def _table(submission: "Submission") -> list[str]:
    merged = submission.merged
    has_python = "interpreter" in submission.request["spec"]
    unset = [field for field in DEFAULTS if field not in merged.description and (field != "python" or has_python)]
    rows = [(field, DEFAULTS[field], "default") for field in unset]
    for field, value in merged.description.items():
        if field in ("resources", "env", "inputs"):
            rows += [
                (f"{field}.{name}", _value(field, item), merged.origins[f"{field}.{name}"])
                for name, item in value.items()
            ]
        elif value not in ([], ""):
            rows.append((field, _value(field, value), merged.origins[field]))
    rooms = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{name:<{rooms[0]}}  {value:<{rooms[1]}}  {place}" for name, value, place in rows]
    return [*lines, "", *fields(_resolved(submission), indent=0), "", "nothing was submitted"]


def _value(field: str, value: Any) -> str:
    if field == "env":
        return "yours" if value is None else "given"  # it may be a secret
    text = shlex.join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = visible(text)
    return text if len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 1] + "…"


def _resolved(submission: "Submission") -> list[tuple[str, str]]:
    spec = submission.request["spec"]
    source = spec["source"]
    seed = f"{spec['seed']}" + (", drawn now" if spec.get("is_seed_drawn") else "")
    return [
        ("command", visible(shlex.join(spec["target"]["argv"]))),
        ("code", visible(source.get("root", "nothing is frozen"))),
        ("runs in", visible(source["cwd"] + (" (live)" if source["cwd_is_live"] else " of the frozen copy"))),
        ("python", visible(spec.get("interpreter", ""))),
        ("seed", seed),
        ("variables", f"{len(submission.request['variables'])} of yours go with it"),
    ]


def _prose(submission: "Submission") -> list[str]:
    spec = submission.request["spec"]
    source, asked = spec["source"], spec["resources"]
    words = [f"This would run `{visible(shlex.join(spec['target']['argv']))}`."]
    if source.get("is_live"):
        words.append(f"It would run live in {visible(source['cwd'])}: edits made before its turn change what runs.")
    elif "root" in source:
        words.append(
            f"The code below {visible(source['root'])} would be copied now; edits made while it waits change nothing."
        )
    else:
        words.append("Nothing would be frozen: no project was found.")
    if source["cwd_is_live"] and not source.get("is_live"):
        words.append(f"Its working directory would be {visible(source['cwd'])}, as it is then.")
    if asked:
        shown = ", ".join(
            f"{show_size(value)} of {name.removesuffix('_bytes').replace('_', ' ')}"
            if name.endswith("_bytes")
            else f"{value} {'GPUs' if name == 'gpu_count' else 'CPUs'}"
            for name, value in asked.items()
        )
        words.append(f"It would wait until {shown} are free.")
    else:
        words.append("It asks for no resources, so it would run when no other such experiment does.")
    words.append(f"Its priority would be {spec.get('priority', 5)} of 10.")
    if "timeout_s" in spec:
        words.append(f"It would be stopped after {spec['timeout_s']:g} seconds.")
    if spec.get("is_seed_drawn"):
        words.append("A seed would be drawn and recorded; the script finds it in LAB_SEED.")
    return [*words, "Nothing was submitted."]
