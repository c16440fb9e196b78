r"""The small text a person edits: a heading for each thing one can say, never JSON.

What counts as changed is what differs from the untouched form, section by section, so whatever a text
holds, leaving it alone says nothing. A line of a text that begins with `#` is written as `\#`.
"""

import re
from typing import Any, NamedTuple

from labrun.cli import show
from labrun.cli.table import visible
from labrun.cli.told import BEFORE
from labrun.core.errors import BadDescription
from labrun.core.saying import VERDICTS, verdict_of

LISTS = {"Learnings": "learnings", "Next steps": "next_steps"}
HEADINGS = (*BEFORE, "Outcome", "Verdict", *LISTS, "Note")
_HEADING = re.compile(r"##\s*(.+?)\s*$")
_NEEDS_ESCAPE = re.compile(r"^(?=\\*#)", re.MULTILINE)
_ESCAPED = re.compile(r"^\\(?=\\*#)", re.MULTILINE)

Detail = dict[str, Any]


class _Section(NamedTuple):
    text: str
    line: int
    """Number of its first line."""


def form(detail: Detail) -> str:
    """The text a person edits."""
    one, before, after = detail["experiment"], detail["narrative"], detail["told"]
    amended = {each["field"]: each["text"] for each in after.get("amendments", ())}
    lines = [f"# {one['label']} {visible(one['name'] or '')}".rstrip(), f"# {show.state(one)}: {show.command(one)}"]
    lines += ["# Lines that begin with `# ` are left out. What was said stays: you add to it, nothing is taken back."]
    lines += ["# Save and leave to keep what you changed; empty the file to change nothing.", ""]
    for name, field in BEFORE.items():
        lines += [f"## {name}", _escape(amended.get(field) or before.get(field) or ""), ""]
    lines += ["## Outcome", _escape(after.get("outcome") or ""), ""]
    lines += ["## Verdict", f"# {', '.join(VERDICTS)}", after.get("verdict") or "", ""]
    for name, field in LISTS.items():
        lines += [f"## {name}", *(_item(text) for text in after.get(field, ())), ""]
    return "\n".join([*lines, "## Note", ""]) + "\n"


def read_form(text: str, detail: Detail, where: str) -> tuple[list[dict[str, Any]], list[str]]:
    """What a person changed in the form.

    Args:
        text: The form as it came back.
        detail: The experiment as it was when the form was written.
        where: The file, for errors.

    Returns:
        Remarks as the API takes them, and the headings below which something was taken out, which changes nothing.

    Raises:
        BadDescription: A heading or verdict nobody knows; all are told with their lines.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.strip():
        return [], []
    sections, wrong = _sections(text, where)
    untouched, _ = _sections(form(detail).replace("\r\n", "\n"), where)
    remarks: list[dict[str, Any]] = []
    conclusion: dict[str, Any] = {}
    removed: list[str] = []
    for name in HEADINGS:
        old, (new, line) = untouched[name].text, sections.get(name, _Section("", 0))
        if name in LISTS:
            items = _items(new)
            if fresh := [item for item in items if item not in _items(old)]:
                conclusion[LISTS[name]] = fresh
            is_less = not set(_items(old)) <= set(items)
        else:
            is_less = bool(old and not new)
            if new and new != old and not _change(name, new, remarks, conclusion):
                wrong.append((f"{where}:{line}", f"verdict `{new[:40]}`, not one of {', '.join(VERDICTS)}"))
        if is_less:
            removed.append(name)
    if wrong:
        wrong.sort(key=lambda each: int(each[0].rpartition(":")[2]))
        hint = f"your text is kept; mend it and give it to `lab narrative {detail['experiment']['label']} -F {where}`"
        raise BadDescription(f"`{where}`", wrong, hint)
    # a note is the last heading, and a conclusion stands before it
    at = next((at for at, remark in enumerate(remarks) if "field" not in remark), len(remarks))
    return [*remarks[:at], *([conclusion] if conclusion else []), *remarks[at:]], removed


def _change(name: str, text: str, remarks: list[dict[str, Any]], conclusion: dict[str, Any]) -> bool:
    """Note what was changed below one heading; False when it cannot be meant."""
    if name in BEFORE:
        remarks.append({"text": text, "field": BEFORE[name]})
    elif name == "Outcome":
        conclusion["outcome"] = text
    elif name == "Note":
        remarks.append({"text": text})
    else:
        conclusion["verdict"] = verdict_of(text)
        return conclusion["verdict"] is not None
    return True


def _sections(text: str, where: str) -> tuple[dict[str, _Section], list[tuple[str, str]]]:
    """Text and first line of each section; what is wrong."""
    found: dict[str, tuple[list[str], int]] = {}
    wrong: list[tuple[str, str]] = []
    current: list[str] | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        heading = _HEADING.match(line)
        if heading is not None:
            name = next((known for known in HEADINGS if known.lower() == heading[1].lower()), None)
            if name is None:
                told = f"unknown heading `{heading[1][:40]}`; known are {', '.join(HEADINGS)}"
                wrong.append((f"{where}:{number}", f"{told}; a text that begins so is written as `\\##`"))
            current = [] if name is None else found.setdefault(name, ([], number + 1))[0]
        elif line == "#" or line.startswith("# "):
            continue
        elif current is not None:
            current.append(line)
        elif line.strip():
            wrong.append((f"{where}:{number}", "text before the first heading"))
    plain = {name: _Section(_plain(lines), number) for name, (lines, number) in found.items()}
    return plain, wrong


def _plain(lines: list[str]) -> str:
    return _ESCAPED.sub("", "\n".join(lines)).strip()


def _escape(text: str) -> str:
    return _NEEDS_ESCAPE.sub(r"\\", text)


def _item(text: str) -> str:
    """One item of a list; further lines stand below its first."""
    return "- " + text.replace("\n", "\n  ")


def _items(text: str) -> list[str]:
    """The items of a list; a line without a dash goes on with the one before."""
    items: list[str] = []
    for line in text.split("\n"):
        if line.startswith(("- ", "* ")):
            items.append(line[2:].strip())
        elif line.strip() in ("-", "*", ""):
            continue
        elif items and line[0].isspace():
            items[-1] += " " + line.strip()
        else:
            items.append(line.strip())
    return [item for item in items if item]
