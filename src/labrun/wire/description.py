"""An experiment as people write it: the experiment file, the body of a POST, and what the options mean.

One set of names everywhere. What is not given is UNSET, so that layers (flags, environment, file,
project, user, home) can be laid over each other. `core.faults` says what is wrong with one,
`capture.resolve` turns it into a `Submit`, `wire.schema` writes the sentences below for editors.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

FORMAT = 1
NonEmpty = Annotated[str, Meta(min_length=1)]
Text = NonEmpty | UnsetType
Texts = tuple[NonEmpty, ...]
Amount = Annotated[int, Meta(ge=1)] | Annotated[float, Meta(ge=1)] | NonEmpty
"""Bytes, or a size with its unit, such as `8G`."""
Time = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)] | NonEmpty
"""Seconds, or a time with its unit, such as `1h30m`."""


class Resources(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What it asks for; nothing means one exclusive slot."""

    cpus: Annotated[int, Meta(ge=1, le=999_999)] | UnsetType = UNSET
    """Processors it will use; counted against this host."""
    memory: Amount | UnsetType = UNSET
    """Memory it will use: bytes, or `8G`."""
    gpus: Annotated[int, Meta(ge=0, le=999_999)] | UnsetType = UNSET
    """GPUs for it alone."""
    gpu_memory: Amount | UnsetType = UNSET
    """Memory each GPU must have: bytes, or `40G`."""
    disk: Amount | UnsetType = UNSET
    """Free space it needs: bytes, or `100G`."""


class Description(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, rename={"format_": "format"}):
    """One experiment. Exactly one of `script`, `module`, `command` says what runs."""

    format_: Annotated[int, Meta(ge=1, le=FORMAT)] | UnsetType = UNSET
    """Version of this form; 1 unless given."""
    script: Text = UNSET
    """A Python script, relative to `cwd`."""
    module: Text = UNSET
    """A module, as for `python -m`."""
    command: Annotated[tuple[str | int | float, ...], Meta(min_length=1)] | NonEmpty | UnsetType = UNSET
    """Any program with its arguments; a text is split as a shell would split it."""
    args: tuple[str | int | float, ...] | UnsetType = UNSET
    """Arguments after the script or module, verbatim."""
    cwd: Text = UNSET
    """Where it runs; relative to the experiment file. The file's folder unless given."""
    python: Text = UNSET
    """Interpreter; the caller's environment unless given."""
    name: Annotated[str, Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    """A name to find it by; need not be unique."""
    lab: Text = UNSET
    """The lab it belongs to; `main` unless given."""
    note: Text = UNSET
    """Why you run it; kept with the record."""
    priority: Annotated[int, Meta(ge=1, le=10)] | Literal["low", "normal", "high", "critical"] | UnsetType = UNSET
    """1 (whenever) to 10 (first), or a word: low 2, normal 5, high 7, critical 9."""
    timeout: Time | UnsetType = UNSET
    """Stop it after so long: seconds, or `90s`, `15m`, `4h`, `1h30m`."""
    grace: Time | UnsetType = UNSET
    """Between the polite signal and the kill: seconds, or `30s`; 10 seconds unless given."""
    env: dict[str, str | int | float] | UnsetType = UNSET
    """Variables to set, by name."""
    resources: Resources | UnsetType = UNSET
    """What it asks for; nothing means one exclusive slot."""
    pod: Text = UNSET
    """A named set of resources from the home's settings, such as `h100`."""
    pod_type: Text = UNSET
    """Another name for `pod`."""
    config: NonEmpty | Texts | UnsetType = UNSET
    """Configuration files, relative to `cwd`; copied and checksummed."""
    inputs: dict[str, NonEmpty] | UnsetType = UNSET
    """Data by name, paths relative to `cwd`; hashed, not copied."""
    outputs: NonEmpty | Texts | UnsetType = UNSET
    """Globs of files it should leave behind; one that matches nothing at the end is named."""
    metrics_from: Text = UNSET
    """Read metrics from what it prints too: `json`, `key=value`, or a pattern such as `epoch {step}: loss {loss}`."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | UnsetType = UNSET
    """Recorded, and given to the script as `LAB_SEED`; drawn unless given."""
    links: Texts | UnsetType = UNSET
    """Places in the source root that stay live instead of being copied."""
    live: bool | UnsetType = UNSET
    """Run in your own folder instead of a frozen copy."""
    stdin: Literal["none", "spooled"] | UnsetType = UNSET
    """What it reads: nothing, or what `lab` read from its own standard input at submit."""
    hypothesis: Text = UNSET
    """What you think is true; sealed before it runs."""
    context: Text = UNSET
    """What this builds on."""
    intent: Text = UNSET
    """What you want to learn."""
    expect: Text = UNSET
    """What you expect to see."""
    parent: Text = UNSET
    """The experiment it follows from: a label, a name, `latest`."""
    group: Text = UNSET
    """Name of the group of experiments it belongs to."""
    tags: Texts | UnsetType = UNSET
    """Words to find it by."""
