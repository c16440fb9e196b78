"""The screen of `lab info`: what an experiment runs, why, how it stands, where its files are."""

from typing import Any

from labrun.cli import curves, show
from labrun.cli.card import card
from labrun.cli.output import Output, fields
from labrun.cli.table import cells, hang, table, visible
from labrun.cli.told import NOTHING_SAID, told_lines
from labrun.core.units import show_size

_SHOWN_ARTIFACTS = 10
_WHOLE = 1000
"""Lines a cell may take: nothing of one experiment is cut."""
_MARKS = {"succeeded": "done", "running": "now", "failed": "failed", "cancelled": "cancelled"}


def screen(output: Output, detail: dict[str, Any]) -> list[str]:
    """Put an `ExperimentDetail` on one screen."""
    one = detail["experiment"]
    lines = [*_title(output, one)]
    lines += fields(
        [
            ("what", show.command(one)),
            ("why", "\n".join(visible(line) for line in (one["note"] or "no note").splitlines())),
            ("stands", _stands(one)),
            ("where", show.where(one, "no folder before its first attempt")),
            ("logs", f"lab logs {one['label']}" if one["folder"] else ""),
        ],
        width=output.width,
    )
    inner = output.width - 2 if output.width is not None else None
    if detail["card"] is not None:
        lines += ["", *(f"  {line}" for line in card(detail["card"], width=inner))]
    for glob in detail["missing_outputs"]:
        lines += hang(f"  missing: nothing matches `{visible(glob)}`", output.width, 11)
    said = told_lines(detail, inner)
    if said != NOTHING_SAID:
        lines += ["", *(f"  {line}" for line in said)]
    lines += ["", *fields(_facts(detail), width=output.width)]
    if detail["steps"]:
        lines += ["", "steps", *table(_steps(detail), output.width, indent=2, last_lines=_WHOLE)]
    if len(detail["attempts"]) > 1 or any(attempt["seal"] for attempt in detail["attempts"]):
        rows = [_attempt(each) for each in detail["attempts"]]
        lines += ["", "attempts", *table(rows, output.width, indent=2, spare=(3, 2), last_lines=_WHOLE)]
    if detail["artifact_count"]:
        lines += ["", *_artifacts(output, detail)]
    return lines


def _title(output: Output, one: dict[str, Any]) -> list[str]:
    """Label, name and how it stands; a name that does not fit stands below."""
    label, state = output.colour(one["label"], "bold"), show.paint(output, show.state(one), one)
    if not one["name"]:
        return [f"{label}  {state}"]
    name, width = visible(one["name"]), output.width
    if width is None or cells(f"{one['label']} {name}  {show.state(one)}") <= width:
        return [f"{label} {name}  {state}"]
    return [f"{label}  {state}", *hang(f"  {name}", width, 2)]


def measured(output: Output, told: dict[str, Any] | None) -> list[str]:
    """The table of metrics below a screen."""
    if not told or not told["series"]:
        return ["metrics: none"]
    return ["metrics", *curves.summary_table(output, told["series"], indent=2)]


def _stands(one: dict[str, Any]) -> str:
    if one["status"] in show.OVER:
        text = visible(one["ending_text"] or one["status"])
        lasted = show.took(one)
        return f"{text}{f' after {lasted}' if lasted else ''}, {show.ago(one['ended_at'])}"
    if one["step"] == "waiting":
        return f"waits: {show.waiting(one)}"
    reason = f" ({visible(one['reason'])})" if one["reason"] else ""
    return f"{one['step']} for {show.took(one) or show.ago(one['queued_at'])}{reason}"


def _facts(detail: dict[str, Any]) -> list[tuple[str, str]]:
    one = detail["experiment"]
    asked = one["resources"]
    resources = [
        f"{asked['cpus']} CPUs" if asked.get("cpus") else "",
        f"{show_size(asked['memory_bytes'])} memory" if asked.get("memory_bytes") else "",
        f"{asked['gpu_count']} GPUs" if asked.get("gpu_count") else "",
    ]
    enforced = ", ".join(f"{name} by {how}" for name, how in detail["enforced"].items())
    limit = f"{show.show_duration(detail['timeout_s'])}, then " if detail["timeout_s"] else "no time limit; "
    tree = f"{detail['tree'][:12]} from {visible(detail['source_root'] or '?')}" if detail["tree"] else "nothing frozen"
    return [
        ("run id", one["run_id"]),
        ("user", f"{visible(one['user'])}, lab {visible(one['lab'])}, priority {one['priority']}"),
        ("queued", show.local(one["queued_at"])),
        ("started", show.local(one["started_at"])),
        ("ended", show.local(one["ended_at"])),
        ("code", tree),
        ("python", visible(detail["interpreter"] or "")),
        ("directory", visible(detail["cwd"])),
        ("asked for", ", ".join(filter(None, resources)) or "nothing: one exclusive slot"),
        ("limits", f"{limit}{show.show_duration(detail['grace_s'])} between polite signal and kill"),
        ("enforced", enforced),
        ("metrics", f"{curves.brief(detail['metrics'])}: `lab metrics {one['label']}`" if detail["metrics"] else ""),
    ]


def _steps(detail: dict[str, Any]) -> list[list[str]]:
    rows = []
    for step in detail["steps"]:
        begin, end = show.moment(step["started_at"]), show.moment(step["ended_at"])
        lasted = show.show_duration(end - begin) if begin is not None and end is not None and end > begin else ""
        mark = "-" if step["note"] and begin == end else _MARKS.get(step["status"], "-")
        rows.append([step["step"], mark, lasted, visible(step["note"] or "")])
    return rows


def _attempt(attempt: dict[str, Any]) -> list[str]:
    seal = f"sealed {attempt['seal'][:12]}" if attempt["seal"] else "not sealed yet"
    how = visible(attempt["ending_text"] or "not over")
    return [str(attempt["attempt"]), show.local(attempt["started_at"]) or "-", show.took(attempt) or "-", seal, how]


def _artifacts(output: Output, detail: dict[str, Any]) -> list[str]:
    title = f"artifacts: {detail['artifact_count']}, {show_size(detail['artifact_bytes'])}"
    shown = detail["artifacts"][:_SHOWN_ARTIFACTS]
    rows = [[show_size(each["size_bytes"]), show.local(each["modified"]), visible(each["path"])] for each in shown]
    rest = detail["artifact_count"] - len(shown)
    return [
        title,
        *table(rows, output.width, indent=2, last_lines=_WHOLE),
        *([f"  and {rest} more"] if rest > 0 else []),
    ]
