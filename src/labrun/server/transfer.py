"""Routes for a client on another machine: frozen code comes in by difference, files go out in pieces."""

import asyncio
import tempfile
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import Parameter
from litestar.response import Stream

from labrun.server.routes import laboratory_of
from labrun.store import transfer
from labrun.wire.transfer import FileListing, Missing, MissingView, Stored, TreeView

_IN_MEMORY_BYTES = 2**20
PIECE_LIMIT_BYTES = 8 * 2**20


@post("/v1/objects/missing", status_code=200)
async def ask_for_missing(state: State, data: Missing) -> MissingView:
    """Say which objects of frozen code are not here."""
    code = laboratory_of(state).parts.code
    return MissingView(tuple(await asyncio.to_thread(transfer.missing, code, data.objects)))


@post("/v1/objects", status_code=200, request_max_body_size=None)
async def take_objects(request: Request[Any, Any, Any], state: State) -> Stored:
    """Store objects of frozen code; the answer comes after they are durable. May be repeated.

    The body is a stream of records: the line `KIND NAME SIZE` (3 for a file, 2 for a tree; SHA-1 as git
    counts it; bytes), then the content. Every object comes before the trees that name it.
    """
    code, folder = laboratory_of(state).parts.code, laboratory_of(state).parts.home.store
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(folder)) as spool:
        async for piece in request.stream():
            if spool.tell() + len(piece) > _IN_MEMORY_BYTES:
                await asyncio.to_thread(spool.write, piece)
            else:
                spool.write(piece)
        spool.seek(0)
        return Stored(await asyncio.to_thread(transfer.take, code, spool))


@get("/v1/objects/{tree:str}")
async def list_objects(state: State, tree: str) -> TreeView:
    """List every object of a tree of frozen code."""
    files, folders = await asyncio.to_thread(transfer.objects_of, laboratory_of(state).parts.code, tree)
    return TreeView(tuple(files), tuple(folders))


@post("/v1/objects/fetch", status_code=200)
async def fetch_objects(state: State, data: Missing) -> Stream:
    """Give objects of frozen code as the stream an upload takes; after some MiB the rest is left to be asked for."""
    records = await asyncio.to_thread(transfer.give, laboratory_of(state).parts.code, data.objects, PIECE_LIMIT_BYTES)
    return Stream(records, media_type="application/octet-stream")


@get("/v1/labs/{lab:str}/experiments/{reference:str}/files")
async def list_files(state: State, lab: str, reference: str) -> FileListing:
    """List every file in an experiment's folder, with its hash where it is sealed."""
    return await laboratory_of(state).files(reference, lab)


@get("/v1/labs/{lab:str}/experiments/{reference:str}/file")
async def read_file(
    state: State,
    lab: str,
    reference: str,
    path: str,
    offset: Annotated[int, Parameter(ge=0, lt=2**62)] = 0,
    limit_bytes: Annotated[int, Parameter(ge=1, le=PIECE_LIMIT_BYTES)] = 2**20,
) -> Response[bytes]:
    """Give a piece of one file of an experiment's folder; none is given at its end."""
    body = await laboratory_of(state).file(reference, lab, path, offset, limit_bytes)
    return Response(body, media_type="application/octet-stream")


ROUTES = (ask_for_missing, take_objects, list_objects, fetch_objects, list_files, read_file)
