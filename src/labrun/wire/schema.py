"""The JSON Schema of a description, for editors: types from the structs, sentences from beside their fields."""

import ast
import inspect
from typing import Any

import msgspec

from labrun.wire.description import Description, Resources

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def description_schema() -> dict[str, Any]:
    """Write the schema of an experiment file.

    Source:
        json-schema.org, draft 2020-12.
    """
    document = msgspec.json.schema(Description)
    parts = document["$defs"]
    for struct in (Description, Resources):
        sentences = _sentences(struct)
        for name, field in parts[struct.__name__]["properties"].items():
            # beside a `$ref` a description is allowed since draft 2019-09
            field["description"] = sentences[name]
    whole = parts.pop("Description")
    whole["properties"] = {
        "$schema": {"type": "string", "description": "This schema, for editors; not read."},
        **whole["properties"],
    }
    return {
        "$schema": _DIALECT,
        "title": "Experiment of labrun",
        "description": whole["description"],
        "type": "object",
        "properties": whole["properties"],
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in ("script", "module", "command")],
        "not": {"anyOf": [{"required": ["args", "command"]}, {"required": ["pod", "pod_type"]}]},
        "$defs": parts,
    }


def _sentences(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The sentence below each field, by the field's name outside."""
    tree = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(tree, ast.ClassDef)
    outside = dict(zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True))
    found = {}
    for line, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            assert isinstance(below, ast.Expr), f"{line.target.id} has no sentence"
            assert isinstance(below.value, ast.Constant)
            found[outside[line.target.id]] = " ".join(str(below.value.value).split())
    return found
