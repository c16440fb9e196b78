"""The body of a submit is one of two: a `Submit` as our client sends it, or an experiment as people write it."""

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.exceptions import ClientException
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition
from msgspec import structs

from labrun.core.errors import BadDescription
from labrun.core.faults import Fault, faults, show_path
from labrun.core.rerun import change_faults
from labrun.wire.description import Description
from labrun.wire.requests import Submit

if TYPE_CHECKING:
    from litestar._openapi.schema_generation import SchemaCreator

_HINT = "mend it and send it again; `lab schema` and GET /schema/openapi.json say what is allowed"


class Posted:
    """A decoded body; what has a `spec` is a `Submit`, every other object a description."""

    def __init__(self, plain: object) -> None:
        self.plain = plain

    @staticmethod
    def is_type(value: Any) -> bool:
        """Whether this is the type to decode; asked by the framework."""
        return value is Posted

    @staticmethod
    def decode(_type: Any, plain: Any) -> "Posted":
        """Take a decoded body as it is: what it means is worked out by the route."""
        return Posted(plain)

    @property
    def is_description(self) -> bool:
        """Whether it is for us to work out what is meant."""
        return isinstance(self.plain, dict) and "spec" not in self.plain


class PostedSchema(OpenAPISchemaPlugin):
    """Tells the OpenAPI document that a body is one of the two."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether this is our type."""
        return value is Posted

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: "SchemaCreator") -> Schema:
        """Name both."""
        both = [schema_creator.for_field_definition(FieldDefinition.from_annotation(t)) for t in (Submit, Description)]
        return Schema(one_of=both)


def submit_of(plain: object) -> Submit:
    """Make a request of plain values.

    Raises:
        ClientException: They do not fit.
    """
    try:
        return msgspec.convert(plain, Submit, strict=False, str_keys=True)
    except msgspec.ValidationError as error:
        raise ClientException(str(error)) from error


def repeatable(request: Submit, key: str | None) -> Submit:
    """Let a seed that was drawn follow from the idempotency key: the same body is the same request again."""
    if key is None or not request.spec.is_seed_drawn:
        return request
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    return structs.replace(request, spec=structs.replace(request.spec, seed=seed))


def description_of(body: bytes, lab: str) -> dict[str, Any]:
    """Read and check a description that came over HTTP.

    Nobody's folder or standard input comes with a request: paths count from an absolute `cwd`, or from
    the folder of an absolute `script` (so that `name script config pod_type timeout` suffice).

    Args:
        body: JSON, known to be an object.
        lab: From the address.

    Raises:
        BadDescription: Something is wrong; everything is listed.
    """
    plain: dict[str, Any] = _DECODER.decode(body)
    plain.pop("$schema", None)  # for editors
    found = [*faults(plain), *_without_caller(plain, lab)]
    if found:
        raise BadDescription("the body", [(show_path(fault.path) or "body", fault.text) for fault in found], _HINT)
    if "pod_type" in plain:
        plain["pod"] = plain.pop("pod_type")
    plain.setdefault("cwd", str(PurePosixPath(plain.get("script", "/")).parent))
    for name in ("args", "command"):
        if isinstance(plain.get(name), list):
            plain[name] = [_verbatim(word) for word in plain[name]]
    if "env" in plain:
        plain["env"] = {name: _verbatim(value) for name, value in plain["env"].items()}
    return plain | {"lab": lab}


def check_changes(changes: dict[str, Any]) -> None:
    """Refuse changed fields that are wrong, or mean something only in somebody's folder.

    Raises:
        BadDescription: Something is wrong; everything is listed.
    """
    found = change_faults(changes)
    if not found:
        config, inputs = changes.get("config", ()), changes.get("inputs", {})
        named: list[tuple[tuple[str, ...], str]] = [(("python",), changes.get("python", "/"))]
        named += [(("config",), path) for path in ([config] if isinstance(config, str) else config)]
        named += [(("inputs", name), path) for name, path in inputs.items()]
        found = [
            Fault(place, f"`{show_path(place)}` is {path!r}, a server needs an absolute path")
            for place, path in named
            if not path.startswith("/")
        ]
    if found:
        raise BadDescription("the changes", [(show_path(fault.path) or "body", fault.text) for fault in found], _HINT)
    if "pod_type" in changes:
        changes["pod"] = changes.pop("pod_type")


def _without_caller(plain: Mapping[str, Any], lab: str) -> list[Fault]:
    found = []
    cwd, script = (plain[name] if isinstance(plain.get(name), str) else None for name in ("cwd", "script"))
    if cwd is not None and not cwd.startswith("/"):
        found.append(Fault(("cwd",), f"`cwd` is {cwd!r}, a server needs an absolute path"))
    if "cwd" not in plain and not (script or "").startswith("/"):
        found.append(Fault(("cwd",), "`cwd` is missing: give the absolute folder it runs in, or an absolute `script`"))
    if plain.get("lab", lab) != lab:
        found.append(Fault(("lab",), f"`lab` is {plain['lab']!r}, the address says `{lab}`"))
    if plain.get("stdin") == "spooled":
        found.append(Fault(("stdin",), "`stdin` cannot be spooled from here; name a file in `inputs` and read that"))
    return found


class _Written(float):
    """A number that remembers how it was written: `1.10` is not `1.1` on a command line."""

    text: str

    def __new__(cls, text: str) -> "_Written":
        found = super().__new__(cls, text)
        found.text = text
        return found


_DECODER = msgspec.json.Decoder(float_hook=_Written)


def _verbatim(word: str | float) -> str:
    return word.text if isinstance(word, _Written) else str(word)
