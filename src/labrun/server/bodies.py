"""Refuse a body nobody can read, and fields nobody knows, before the framework decodes it."""

import functools
import types
import typing
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import ClientException

from labrun.core.errors import UnknownOption, nearest
from labrun.server.posted import Posted
from labrun.wire.requests import Submit


async def check_body(request: Request[Any, Any, Any]) -> None:
    """Look at a request's body once, as plain JSON.

    Raises:
        ClientException: It is not JSON in UTF-8, or nested beyond all reason.
        UnknownOption: A field is misspelt; the nearest known one is named.
    """
    field = request.route_handler.parsed_data_field if hasattr(request.route_handler, "parsed_data_field") else None
    if field is None:
        return
    try:
        plain = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ClientException(f"the body is not JSON: {error}") from error
    if field.annotation is not Posted:
        check_fields(plain, field.annotation, "the body")
    elif not Posted(plain).is_description:  # a description is checked as a whole, everything wrong with it at once
        check_fields(plain, Submit, "the body")


def check_fields(plain: object, type_: Any, where: str) -> None:
    """Compare member names with the type's fields, all the way down.

    Raises:
        UnknownOption: A member has no field.
    """
    struct = next((one for one in (type_, *_parts(type_)) if _is_struct(one)), None)
    if struct is None or not isinstance(plain, dict):
        return
    hints = _fields(struct)
    for name, value in plain.items():
        if name not in hints:
            error = UnknownOption(name, hints, where)
            error.hint = error.hint if nearest(name, hints) else f"known are {', '.join(hints)}"
            raise error
        check_fields(value, hints[name], f"`{name}`")


@functools.cache
def _fields(struct: type) -> dict[str, Any]:
    """A struct's fields with their types, worked out once."""
    return typing.get_type_hints(struct)


def _parts(type_: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(type_) in (typing.Union, types.UnionType)
    return typing.get_args(type_) if is_union else ()


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)
