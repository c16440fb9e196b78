"""From a spec back to the description a person would write: what `lab clone` prints."""

import posixpath
from collections.abc import Mapping
from typing import Any

from labrun.core.rerun import arguments_of, fill
from labrun.core.resources import Request
from labrun.core.spec import Spec

_AMOUNTS = {
    "cpus": "cpus",
    "memory": "memory_bytes",
    "gpus": "gpu_count",
    "gpu_memory": "gpu_memory_bytes",
    "disk": "disk_bytes",
}
"""Field of a description: its name in a request."""


def describe(spec: Spec, *, parent: str, staged: Mapping[str, str]) -> dict[str, Any]:
    """Write a spec as a description that means the same definition, wherever its file lies.

    What only that one submit had is left out: variables, a seed that was drawn, what it read.

    Args:
        spec: As it was accepted.
        parent: Reference of the experiment it is taken from.
        staged: Place of each file that was staged for it, by name.
    """
    source = spec.source
    cwd = source.cwd if source.cwd_is_live else posixpath.normpath(posixpath.join(source.root or "/", source.cwd))
    found: dict[str, Any] = {**_target(spec, staged), "cwd": cwd}
    if spec.interpreter is not None:
        found["python"] = spec.interpreter
    found |= {name: value for name, value in _words(spec).items() if value not in (None, "", [])}
    if spec.lab != "main":
        found["lab"] = spec.lab
    if spec.priority != Spec(spec.target).priority:
        found["priority"] = spec.priority
    if spec.timeout_s is not None:
        found["timeout"] = _number(spec.timeout_s)
    if spec.grace_s != Spec(spec.target).grace_s:
        found["grace"] = _number(spec.grace_s)
    if resources := _resources(spec.resources):
        found["resources"] = resources
    if spec.configs:
        found["config"] = [config.path for config in spec.configs]
    if spec.inputs:
        found["inputs"] = {data.name: data.path for data in spec.inputs}
    if spec.expected_outputs:
        found["outputs"] = list(spec.expected_outputs)
    if spec.seed is not None and not spec.is_seed_drawn:
        found["seed"] = spec.seed
    if source.links and not source.is_live:
        found["links"] = [f"{source.root}/{link.place}" for link in source.links]
    if source.is_live:
        found["live"] = True
    if spec.stdin == "spooled":
        found["stdin"] = "spooled"
    return {**found, "parent": parent}


def _target(spec: Spec, staged: Mapping[str, str]) -> dict[str, Any]:
    arguments = list(fill(arguments_of(spec), staged))
    if spec.target.kind == "program" or spec.interpreter is None:
        return {"command": list(fill(spec.target.argv, staged))}
    if spec.target.kind == "module":
        found: dict[str, Any] = {"module": spec.target.argv[2]}
    else:
        found = {"script": spec.target.argv[1]}
    return found | ({"args": arguments} if arguments else {})


def _words(spec: Spec) -> dict[str, Any]:
    told = spec.narrative
    return {
        "name": spec.name,
        "note": spec.note,
        "hypothesis": told.hypothesis,
        "context": told.context,
        "intent": told.intent,
        "expect": told.expected_outcome,
        "group": told.experiment_group,
        "tags": list(told.tags),
        "metrics_from": spec.metrics_from,
    }


def _resources(asked: Request) -> dict[str, int]:
    """What was asked for in the end; the pod's name is not given, for it may mean something else by now."""
    found = {name: getattr(asked, field) for name, field in _AMOUNTS.items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else value
