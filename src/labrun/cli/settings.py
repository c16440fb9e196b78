"""`lab settings`: every setting and every option's value, and where each comes from. Starts nothing."""

from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import click

from labrun import settings
from labrun.capture.placement import find_root, never_roots
from labrun.cli import surroundings
from labrun.cli.connect import chosen_word
from labrun.cli.options import face_options
from labrun.cli.output import Output, bold_heading
from labrun.cli.submission import current_directory
from labrun.cli.table import visible
from labrun.core.layers import DEFAULTS, lay_over


@click.command("settings")
@face_options
@click.pass_obj
def show_settings(output: Output) -> int:
    """Show settings, pods, and what experiments submitted from here get unless told otherwise.

    Strongest first: options, LAB_OPTION_* variables, the experiment file, the project's lab.toml, the
    home's home.toml, your config.toml, defaults. --dry-run of `lab run` and `lab queue` shows the same for one
    experiment.

    \b
    Example:
      lab settings
    """
    home = settings.home_path()
    variables = surroundings.caller_variables()
    project = find_root(current_directory(), never_roots(Path(variables.get("HOME") or "/"), home), Path.exists)
    chosen, set_here, pods = settings.load(home), settings.given(home), settings.pods(home)
    merged = lay_over([*settings.layers(home, project), settings.variables()], pods)
    rows = [
        (field.name, getattr(chosen, field.name), str(home / "home.toml") if field.name in set_here else "default")
        for field in fields_of(chosen)
    ]
    rows.insert(0, ("home", str(home), "$LAB_HOME" if variables.get("LAB_HOME") else "default"))
    if (host := settings.host(chosen_word())) is not None:
        rows.insert(0, ("host", " ".join([host.text, *(f"{k}={v}" for k, v in host.given.items())]), host.place))
    options = [(field, value, "default") for field, value in DEFAULTS.items() if field not in merged.description]
    options += [(field, _value(merged.description, field), place) for field, place in merged.origins.items()]
    if output.face == "json":
        as_objects = [
            [{"name": name, "value": value, "from": place} for name, value, place in table] for table in (rows, options)
        ]
        output.json({"settings": as_objects[0], "experiment": as_objects[1], "pods": pods})
        return 0
    output.data(bold_heading(output, "Settings"), *_table(rows))
    output.data("", bold_heading(output, "Experiments submitted from here"), *_table(options))
    pod_rows = [(name, " ".join(f"{key}={value}" for key, value in pod.items()), "") for name, pod in pods.items()]
    output.data("", bold_heading(output, "Pods"), *(_table(pod_rows) or ["  none"]))
    return 0


def _value(description: dict[str, Any], field: str) -> Any:
    table, _, name = field.partition(".")
    value = description[table][name] if name else description[table]
    if table == "env":
        return "given"  # it may be a secret
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _table(rows: list[tuple[str, Any, str]]) -> list[str]:
    shown = [(name, visible(str(value)), place) for name, value, place in rows]
    rooms = [max((len(row[column]) for row in shown), default=0) for column in (0, 1)]
    return [f"  {name:<{rooms[0]}}  {value:<{rooms[1]}}  {place}".rstrip() for name, value, place in shown]
