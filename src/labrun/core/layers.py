"""Descriptions laid over each other: flags over variables over files over defaults, and where each value came from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

MERGED = ("resources", "env", "inputs")
"""Tables whose members are taken one by one; everything else is taken whole."""
RESOURCES = ("cpus", "memory", "gpus", "gpu_memory", "disk")
DEFAULTS = {
    "lab": "main",
    "priority": "5",
    "timeout": "none",
    "grace": "10s",
    "resources": "none: one exclusive slot",
    "python": "that of your environment",
    "seed": "drawn at each submit",
}
"""What holds for a field that nobody gives, in words."""


class Layer(NamedTuple):
    """One place where values are given."""

    description: Mapping[str, Any]
    place_of: Callable[[str], str]
    """How and where a field was written: `--priority`, `lab.toml: priority`."""


class Merged(NamedTuple):
    """What holds in the end."""

    description: dict[str, Any]
    origins: dict[str, str]
    """Place of every value, by field; members of tables as `resources.gpus`."""


def lay_over(layers: Sequence[Layer], pods: Mapping[str, Mapping[str, Any]]) -> Merged:
    """Lay descriptions over each other.

    A pod stands for all resources: those of weaker layers do not shine through, those given beside it win.

    Args:
        layers: The weakest first.
        pods: Named resources; one nobody knows is left for the caller to refuse.
    """
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        if "pod" in layer.description:
            _take_pod(found, origins, pods.get(layer.description["pod"], {}), layer.place_of("pod"))
        for field, value in layer.description.items():
            if field in MERGED:
                found[field] = {**found.get(field, {}), **value}
                origins |= {f"{field}.{name}": layer.place_of(f"{field}.{name}") for name in value}
            else:
                found[field] = value
                origins[field] = layer.place_of(field)
    return Merged(found, origins)


def anchored(description: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Let the paths of a description count from where they were written.

    Absolute paths and those in somebody's home (`~`) stay as they are, `outputs` are patterns below the run's folder.

    >>> anchored({"config": "a.yaml", "inputs": {"stars": "/data/s"}, "python": "python3"}, "/p")
    {'config': '/p/a.yaml', 'inputs': {'stars': '/data/s'}, 'python': 'python3'}
    """

    def whole(path: str) -> str:
        return path if path.startswith(("/", "~")) else f"{folder}/{path}"

    found = dict(description)
    for field in ("config", "links"):
        if field in found:
            given = found[field]
            found[field] = whole(given) if isinstance(given, str) else [whole(path) for path in given]
    if "inputs" in found:
        found["inputs"] = {name: whole(path) for name, path in found["inputs"].items()}
    if "/" in found.get("python", ""):
        found["python"] = whole(found["python"])
    return found


def _take_pod(found: dict[str, Any], origins: dict[str, str], pod: Mapping[str, Any], place: str) -> None:
    for name in found.pop("resources", {}):
        del origins[f"resources.{name}"]
    given = {name: pod[name] for name in RESOURCES if name in pod}
    if given:
        found["resources"] = given
        origins |= {f"resources.{name}": f"the pod of {place}" for name in given}
