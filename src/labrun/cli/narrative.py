"""`lab narrative`: everything said about an experiment, before and after; `--edit` opens it as a small text form."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click

from labrun.capture.caller import user_name
from labrun.cli import surroundings
from labrun.cli.connect import connect, resolve
from labrun.cli.narrative_form import form, read_form
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.told import told_lines
from labrun.client.api import Client
from labrun.core.errors import BadValue, LabError, NoSuchScript, NotRunnable, TooBig

_FORM_LIMIT_BYTES = 8 << 20


@click.command()
@click.argument("reference", metavar="[EXPERIMENT]", default="latest")
@click.option("--edit", is_flag=True, help="Open it in your editor ($VISUAL, $EDITOR) and keep what you change.")
@click.option("-F", "--file", metavar="FILE", help="Keep what was changed in a form that was edited before.")
@click.option("--author", metavar="NAME", help="Who says it; your login name unless given.")
@common_options
@click.pass_obj
def narrative(output: Output, reference: str, edit: bool, file: str | None, author: str | None, lab: str) -> int:
    """Show why it was run and what came of it; with --edit, say so in your editor.

    What was said before it ran is sealed: changing it there adds an amendment with your name and the time.

    \b
    Example:
      lab narrative EXP-054 --edit
    """
    if edit and file is not None:
        raise BadValue("narrative", file, "either --edit or a file")
    client = connect(output, lab)
    detail = client.experiment(resolve(client, reference))
    if edit:
        _edit(output, client, detail, author or user_name())
    elif file is not None:
        _keep(output, client, detail, Path(file), author or user_name())
    if output.face == "json":
        output.json({"narrative": detail["narrative"], "told": detail["told"]})
    elif output.face == "quiet":
        output.data(*filter(None, [detail["told"].get("verdict")]))
    else:
        output.data(*told_lines(detail, output.width))
    return 0


def _edit(output: Output, client: Client, detail: dict[str, Any], author: str) -> None:
    """Open the form in an editor; the text stays on disk until what was changed is kept."""
    label = detail["experiment"]["label"]
    variables = surroundings.caller_variables()
    editor = variables.get("VISUAL") or variables.get("EDITOR") or "vi"
    handle, name = tempfile.mkstemp(prefix=f"{label}-", suffix=".md")
    path = Path(name)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
        stream.write(form(detail))
    try:
        status = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
    except (OSError, ValueError) as error:
        path.unlink()
        raise NotRunnable(editor, str(error), "set $EDITOR to your editor") from error
    if status != 0:
        again = f"your text is in {path}; `lab narrative {label} -F {path}` keeps it"
        raise NotRunnable(editor, f"it ended with {status}", again)
    try:
        _keep(output, client, detail, path, author)
    except LabError:
        output.say(f"lab: your text is in {path}; `lab narrative {label} -F {path}` gives it again")
        raise
    path.unlink()


def _keep(output: Output, client: Client, detail: dict[str, Any], path: Path, author: str) -> None:
    """Say what was changed in a form."""
    try:
        if (size := path.stat().st_size) > _FORM_LIMIT_BYTES:
            raise TooBig("the form", size, _FORM_LIMIT_BYTES, "put long texts into a file in `outputs/`")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadValue("narrative", str(path), f"text in UTF-8; byte {error.start} is none") from error
    except OSError as error:
        raise NoSuchScript(str(path), error.strerror or str(error), "check the path") from error
    remarks, removed = read_form(text, detail, str(path))
    if removed:
        output.say(f"lab: what was said stays; nothing was taken back below {', '.join(removed)}")
    if remarks:
        detail["told"] = client.say(detail["experiment"]["run_id"], author, remarks)
    else:
        output.say("lab: nothing changed")
