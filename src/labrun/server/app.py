"""The application: routes, error table, OpenAPI document."""

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig

from labrun import __version__
from labrun.core.errors import LabError
from labrun.server import transfer
from labrun.server.bodies import check_body
from labrun.server.errors import http_error, lab_error, unexpected
from labrun.server.posted import PostedSchema
from labrun.server.routes import ROUTES, Surrounding
from labrun.worker.laboratory import Laboratory

BODY_LIMIT_BYTES = 8 * 2**20
"""Largest request body: a spec with a full environment needs a few hundred KiB."""


def build_app(laboratory: Laboratory, surrounding: Surrounding) -> Litestar:
    """Put the routes in front of a laboratory."""
    config = AppConfig(
        route_handlers=[*ROUTES, *transfer.ROUTES],
        before_request=check_body,
        state=State({"laboratory": laboratory, "surrounding": surrounding}),
        exception_handlers={LabError: lab_error, HTTPException: http_error, Exception: unexpected},
        openapi_config=OpenAPIConfig(title="labrun", version=__version__, path="/schema", render_plugins=[]),
        request_max_body_size=BODY_LIMIT_BYTES,
        plugins=[PostedSchema()],
        logging_config=None,
    )
    return Litestar.from_config(config)
