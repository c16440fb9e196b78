"""Write the generated parts of the documents: door plates, commands, error codes, settings, the experiment file.

    python docs/generate.py            rewrite what is stale, name it
    python docs/generate.py --check    change nothing; exit 1 when something is stale

A document keeps its hand-written text: only what stands between `<!-- generated: NAME -->` and
`<!-- end of NAME -->` is replaced. The JSON Schema is generated as a whole.
"""

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from labrun.cli import exit as exits
from labrun.cli import main as cli
from labrun.core.errors import LabError, error_classes
from labrun.server.errors import STATUS
from labrun.settings import Settings
from labrun.wire.schema import description_schema

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/labrun"
ROOMS = (
    "cli",
    "client",
    "bootstrap",
    "delivery",
    "settings",
    "server",
    "worker",
    "engines",
    "capture",
    "store",
    "wire",
    "core",
    "shim",
    "metrics",
    "testing",
)


def plates() -> str:
    """Collect the door plates, top to bottom."""
    parts = []
    for room in ROOMS:
        path = SOURCE / room / "__init__.py"
        path = path if path.exists() else SOURCE / f"{room}.py"
        plate = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert plate is not None, f"{path} has no door plate"
        parts.append(f"### `{path.relative_to(SOURCE).parent if path.name == '__init__.py' else path.name}`\n\n{plate}")
    return "\n\n".join(parts)


def commands() -> str:
    """Write the help page of every command."""
    group = next(value for value in vars(cli).values() if isinstance(value, click.Group))
    return "\n\n".join(_help(group, "lab", None))


def _help(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    settings: dict[str, Any] = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield f"## {context.command_path}\n\n```text\n{click.unstyle(command.get_help(context)).rstrip()}\n```"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from _help(found, child, context)


def errors() -> str:
    """List every error code with its meaning and both statuses."""
    rows = ["| Code | Means | `lab` exits | HTTP | Worth a retry |", "|---|---|---|---|---|"]
    order = _in_tree_order(LabError)
    assert len(order) == len(error_classes())
    for cls in order:
        meaning = (inspect.getdoc(cls) or "").split("\n")[0]
        http = next(STATUS[base] for base in cls.__mro__ if base in STATUS)
        shell = exits.of_error(cls.code)
        rows.append(f"| `{cls.code}` | {meaning} | {shell} | {http} | {'yes' if cls.retryable else 'no'} |")
    return "\n".join(rows)


def _in_tree_order(cls: type[LabError]) -> list[type[LabError]]:
    return [cls] + [found for child in cls.__subclasses__() for found in _in_tree_order(child)]


def settings() -> str:
    """List every setting with its default and the sentence beside it in `settings.py`."""
    rows = ["| Key | Default | Means |", "|---|---|---|"]
    tree = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(tree, ast.ClassDef)
    defaults = Settings()
    for field, note in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            assert isinstance(note, ast.Expr), f"{field.target.id} has no sentence"
            assert isinstance(note.value, ast.Constant)
            name = field.target.id
            rows.append(f"| `{name}` | {getattr(defaults, name)} | {' '.join(str(note.value.value).split())} |")
    return "\n".join(rows)


def fields() -> str:
    """List every field of an experiment file with what it takes and the sentence beside it."""
    schema = description_schema()
    parts = [("", schema["properties"]), ("resources.", schema["$defs"]["Resources"]["properties"])]
    rows = ["| Field | Takes | Means |", "|---|---|---|"]
    for prefix, members in parts:
        for name, field in members.items():
            if not name.startswith("$"):
                rows.append(f"| `{prefix}{name}` | {_takes(field)} | {field['description']} |")
    return "\n".join(rows)


def _takes(field: dict[str, Any]) -> str:
    """Say in a few words what a field's schema allows."""
    if "anyOf" in field:
        words = sorted((_takes(one) for one in field["anyOf"]), key=lambda word: word.startswith("list"))
        words = [word for word in words if not (word.startswith("whole number") and "number" in words)]
        return " or ".join(dict.fromkeys(words))
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    match field.get("type"):
        case "integer":
            least, most = field.get("minimum"), field.get("maximum")
            if least == most and least is not None:
                return f"`{least}`"
            whole = f" from {least}" if least is not None else ""
            return f"whole number{whole}" + (f" to {most}" if most is not None else "")
        case "array":
            return f"list of {_takes(field['items'])}"
        case "object":
            return f"table of names and {_takes(field['additionalProperties'])}"
        case "boolean":
            return "`true` or `false`"
        case "string":
            return "text"
        case kind:
            return str(kind) if kind else "table, see below"


def schema() -> str:
    """Write the JSON Schema of an experiment file, as `lab schema` prints it."""
    return json.dumps(description_schema(), indent=2) + "\n"


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "plates": ("ARCHITECTURE.md", plates),
    "commands": ("docs/reference/cli.md", commands),
    "errors": ("docs/reference/errors.md", errors),
    "settings": ("docs/reference/settings.md", settings),
    "fields": ("docs/reference/experiment-file.md", fields),
}
FILES: dict[str, Callable[[], str]] = {"docs/reference/experiment.schema.json": schema}
"""Files that are generated as a whole."""


def main() -> int:
    """Rewrite or check all parts."""
    is_check = "--check" in sys.argv[1:]
    stale = []
    for name, (document, write) in PARTS.items():
        path = ROOT / document
        old = path.read_text(encoding="utf-8")
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        found = pattern.search(old)
        assert found is not None, f"{document} has no place for {name}"
        new = f"{old[: found.start()]}{found[1]}\n{write()}\n\n{found[2]}{old[found.end() :]}"
        if new != old:
            stale.append(document)
            if not is_check:
                path.write_text(new, encoding="utf-8")
    for document, write in FILES.items():
        path = ROOT / document
        new = write()
        if not path.exists() or path.read_text(encoding="utf-8") != new:
            stale.append(document)
            if not is_check:
                path.write_text(new, encoding="utf-8")
    for document in stale:
        print(f"{document}: {'is stale, run `just docs`' if is_check else 'written'}")
    return 1 if stale and is_check else 0


if __name__ == "__main__":
    sys.exit(main())
