"""An experiment as people write it: the experiment file, the body of a POST, and what the options mean.

One set of names everywhere. What is not given is None, so that layers (flags, environment, file,
project, user, home) can be laid over each other. `capture.resolve` turns it into a `Submit`.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

FORMAT = 1
Text = str | UnsetType
Number = int | float | str
"""A number, or one with its unit, such as `8G` or `1h30m`."""


class Resources(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What it asks for; nothing means one exclusive slot."""

    cpus: int | UnsetType = UNSET
    memory: Number | UnsetType = UNSET
    """Bytes, or `8G`."""
    gpus: int | UnsetType = UNSET
    gpu_memory: Number | UnsetType = UNSET
    """Memory each GPU must have: bytes, or `40G`."""
    disk: Number | UnsetType = UNSET
    """Free space it needs: bytes, or `100G`."""


class Description(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, rename={"format_": "format"}):
    """One experiment. Exactly one of `script`, `module`, `command` says what runs."""

    format_: int | UnsetType = UNSET
    """Version of this form; 1 unless given."""
    script: Text = UNSET
    """A Python script, relative to `cwd`."""
    module: Text = UNSET
    """A module, as for `python -m`."""
    command: tuple[str, ...] | str | UnsetType = UNSET
    """Any program with its arguments; a text is split as a shell would split it."""
    args: tuple[str | int | float, ...] | UnsetType = UNSET
    """Arguments after the script or module, verbatim."""
    cwd: Text = UNSET
    """Where it runs; relative to the experiment file. The file's folder unless given."""
    python: Text = UNSET
    """Interpreter; the caller's environment unless given."""
    name: Text = UNSET
    lab: Text = UNSET
    note: Text = UNSET
    priority: int | str | UnsetType = UNSET
    """1 to 10, or low, normal, high, critical."""
    timeout: Number | UnsetType = UNSET
    """Seconds, or `4h`."""
    grace: Number | UnsetType = UNSET
    env: dict[str, str | int | float] | UnsetType = UNSET
    resources: Resources | UnsetType = UNSET
    pod: Text = UNSET
    pod_type: Text = UNSET
    """Another name for `pod`."""
    config: str | tuple[str, ...] | UnsetType = UNSET
    """Configuration files, copied and checksummed."""
    inputs: dict[str, str] | UnsetType = UNSET
    """Data by name; hashed, not copied."""
    outputs: str | tuple[str, ...] | UnsetType = UNSET
    """Globs of files it should leave behind."""
    seed: int | UnsetType = UNSET
    links: tuple[str, ...] | UnsetType = UNSET
    """Places in the source root that stay live instead of being copied."""
    live: bool | UnsetType = UNSET
    stdin: Literal["none", "spooled"] | UnsetType = UNSET
    hypothesis: Text = UNSET
    context: Text = UNSET
    intent: Text = UNSET
    expect: Text = UNSET
    parent: Text = UNSET
    group: Text = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
