"""From our errors to HTTP: one table, one body."""

import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from labrun.core.errors import (
    AmbiguousReference,
    DiskFull,
    HomeBusy,
    InternalError,
    KeyReused,
    LabError,
    NoSuchMetric,
    NotAllowedNow,
    NotFound,
    NothingFrozen,
    RequestError,
    ServerStopping,
    TooBig,
    TooManyFiles,
    WorldError,
)
from labrun.wire.responses import Problem

log = logging.getLogger(__name__)

STATUS: dict[type[LabError], int] = {
    NotFound: 404,
    NoSuchMetric: 404,
    AmbiguousReference: 409,
    NotAllowedNow: 409,
    KeyReused: 409,
    HomeBusy: 409,
    TooBig: 413,
    TooManyFiles: 413,
    NothingFrozen: 409,
    RequestError: 400,
    DiskFull: 507,
    ServerStopping: 503,
    WorldError: 503,
    InternalError: 500,
    LabError: 500,
}
"""The nearest class along an error's ancestry decides."""


def status_of(error: LabError) -> int:
    """HTTP status of an error."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def answer(error: LabError) -> Response[Problem]:
    """Turn an error into a response."""
    body = Problem(error.code, error.message, error.hint, error.details)
    return Response(body, status_code=status_of(error))


def lab_error(request: Request[Any, Any, Any], error: LabError) -> Response[Problem]:
    """Answer one of ours; bugs leave a traceback in the server's log."""
    if isinstance(error, InternalError):
        log.error("internal error", exc_info=error, extra={"path": request.url.path})
    return answer(error)


def http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Answer what the framework refused: no such route, a body that does not fit its type."""
    code = {404: "no_such_route", 405: "no_such_route", 413: "too_big"}.get(error.status_code, "bad_request")
    details = getattr(error, "extra", None)
    message = error.detail
    if isinstance(details, list) and details and isinstance(details[0], dict):
        message = "; ".join(f"{item.get('key', 'body')}: {item.get('message')}" for item in details)
    cause = error.__cause__
    if isinstance(cause, msgspec.ValidationError):
        message = str(cause)
    hint = "GET /schema/openapi.json describes what is accepted"
    return Response(Problem(code, message, hint), status_code=error.status_code)


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Answer a bug: the traceback stays here, the client learns where to find it."""
    log.error("unexpected error", exc_info=error, extra={"path": request.url.path})
    text = f"{type(error).__name__}: {error}"
    return Response(Problem("internal", text, "a bug of labrun; the traceback is in server.log"), status_code=500)
