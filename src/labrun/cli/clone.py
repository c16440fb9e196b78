"""`lab clone`: an experiment as a file to edit."""

import json
from pathlib import Path
from typing import Any

import click

from labrun.cli.connect import connect, resolve
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import visible


@click.command()
@click.argument("reference", metavar="EXPERIMENT")
@click.option("-o", "--output", "file", metavar="FILE", help="Write it there (.yaml, .yml, .json); never over a file.")
@common_options
@click.pass_obj
def clone(output: Output, reference: str, file: str | None, lab: str) -> int:
    """Print an experiment as an experiment file: edit it and `lab queue -f` it.

    Queued unchanged it is the same definition, on the code as it is then. Paths in it are absolute, so
    the file may lie anywhere. What no file can say stands in comments. --quiet prints the label it came from.

    \b
    Example:
      lab clone EXP-054 -o next.yaml
      lab queue -f next.yaml
    """
    client = connect(output, lab)
    target = _target(file) if file is not None else None
    answer = client.description(resolve(client, reference))
    if target is not None:
        _write(target, _text(answer, is_json=target.suffix.lower() == ".json"))
    if output.face == "json":
        output.json(answer)
    elif output.face == "quiet":
        output.data(answer["label"])
    elif target is not None:
        output.data(f"{answer['label']} written to {visible(str(target))}: edit it, then `lab queue -f` it")
    else:
        output.data(*_text(answer, is_json=False).splitlines())
    return 0


def _target(file: str) -> Path:
    from labrun.core.errors import BadValue  # start-up time: `lab clone --help` does without

    path = Path(file).expanduser()
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        raise BadValue("-o", file, "a file that ends in .yaml, .yml or .json")
    if path.exists():
        raise BadValue("-o", file, "a file that is not there yet", hint="nothing is written over")
    return path


def _text(answer: dict[str, Any], *, is_json: bool) -> str:
    if is_json:
        return json.dumps(answer["description"], indent=2, ensure_ascii=False) + "\n"
    from labrun.client.yaml_text import write_yaml  # start-up time: as above

    comments = [
        f"From {answer['label']} ({answer['run_id']}), written by `lab clone`; `lab queue -f` queues it.",
        *answer["notices"],
    ]
    return write_yaml(answer["description"], comments)


def _write(path: Path, text: str) -> None:
    from labrun.core.errors import BadValue  # start-up time: as above

    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise BadValue("-o", str(path), f"a file that can be written ({error.strerror})") from error
