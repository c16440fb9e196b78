"""The table of routes. Router and OpenAPI document are made from it; a route only translates."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.exceptions import ClientException
from litestar.params import Parameter

from labrun.core.events import Status
from labrun.wire.requests import Cancel, Keys, Resume, Signal, Submit
from labrun.wire.responses import (
    Accepted,
    CapacityView,
    Diagnosis,
    EventPage,
    Experiment,
    ExperimentDetail,
    ExperimentPage,
    LogHeader,
    ServerView,
    StatusView,
    Typed,
)
from labrun.worker.laboratory import Laboratory
from labrun.worker.logs import LogQuery

Limit = Annotated[int, Parameter(ge=1, le=1000)]
Wait = Annotated[float, Parameter(ge=0, le=60)]
Offset = Annotated[int | None, Parameter(ge=0, lt=2**62)]


class Surrounding(msgspec.Struct):
    """What routes need beside the laboratory; plain functions bound by bootstrap."""

    server_view: Callable[[], ServerView]
    diagnose: Callable[[], Diagnosis]
    leave: Callable[[], None]


def laboratory_of(state: State) -> Laboratory:
    """The laboratory this server serves."""
    found: Laboratory = state["laboratory"]
    return found


def surrounding_of(state: State) -> Surrounding:
    """The server's own facts."""
    found: Surrounding = state["surrounding"]
    return found


@post("/v1/labs/{lab:str}/experiments", status_code=201)
async def submit(request: Request[Any, Any, Any], state: State, lab: str, data: Submit) -> Accepted:
    """Accept one experiment; the answer comes after it is durable."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 8 <= len(key) <= 128:
        raise ClientException("Idempotency-Key needs 8 to 128 characters")
    return await laboratory_of(state).submit(lab, data, key)


@get("/v1/labs/{lab:str}/experiments")
async def list_experiments(
    state: State,
    lab: str,
    limit: Limit = 20,
    before: str | None = None,
    status: Status | None = None,
    name: str | None = None,
) -> ExperimentPage:
    """List experiments, newest first; `next` of one page is `before` of the next."""
    return laboratory_of(state).page(lab, before=before, limit=limit, status=status, name=name)


@get("/v1/labs/{lab:str}/experiments/{reference:str}")
async def show_experiment(state: State, lab: str, reference: str) -> ExperimentDetail:
    """Show everything about one experiment."""
    return laboratory_of(state).detail(reference, lab)


@get("/v1/labs/{lab:str}/experiments/{reference:str}/events")
async def list_events(
    state: State, lab: str, reference: str, after: Annotated[int, Parameter(ge=0, lt=2**62)] = 0, wait_s: Wait = 0
) -> EventPage:
    """Give the journal after a line; with `wait_s`, wait for more."""
    return await laboratory_of(state).events(reference, lab, after=after, wait_s=wait_s)


@get("/v1/labs/{lab:str}/experiments/{reference:str}/logs", media_type="application/octet-stream")
async def read_logs(
    state: State,
    lab: str,
    reference: str,
    stdout: Offset = None,
    stderr: Offset = None,
    attempt: Annotated[int | None, Parameter(ge=1)] = None,
    wait_s: Wait = 0,
    limit_bytes: Annotated[int, Parameter(ge=1, le=2**20)] = 65536,
    tail_bytes: Offset = None,
) -> Response[bytes]:
    """Give the bytes of each stream that has an offset; the header `Lab-Log` says how they divide."""
    query = LogQuery(stdout, stderr, attempt, wait_s, limit_bytes, tail_bytes)
    body, header = await laboratory_of(state).logs(reference, lab, query)
    return Response(body, headers={"Lab-Log": _header(header)}, media_type="application/octet-stream")


def _header(header: LogHeader) -> str:
    return msgspec.json.encode(header).decode()


@post("/v1/labs/{lab:str}/experiments/{reference:str}/cancel", status_code=200)
async def cancel(state: State, lab: str, reference: str, data: Cancel) -> Experiment:
    """Ask an experiment to stop; durable when answered, applied until nothing is left."""
    return await laboratory_of(state).cancel(reference, lab, data)


@post("/v1/labs/{lab:str}/experiments/{reference:str}/signal", status_code=200)
async def signal(state: State, lab: str, reference: str, data: Signal) -> Experiment:
    """Pass a signal to a running script's process group."""
    return await laboratory_of(state).signal(reference, lab, data.signal)


@post("/v1/labs/{lab:str}/experiments/{reference:str}/keys", status_code=200)
async def type_keys(state: State, lab: str, reference: str, data: Keys) -> Typed:
    """Type into the terminal of an experiment; what it answers is in its log."""
    return await laboratory_of(state).type(reference, lab, data)


@post("/v1/labs/{lab:str}/experiments/{reference:str}/resume", status_code=200)
async def resume(state: State, lab: str, reference: str, data: Resume) -> Experiment:
    """Let an ended experiment wait for its next attempt: same code, same configuration."""
    return await laboratory_of(state).resume(reference, lab, data)


@get("/v1/labs/{lab:str}/status")
async def show_status(state: State, lab: str) -> StatusView:
    """Show what runs, what waits and why, and what ended last."""
    laboratory = laboratory_of(state)
    running, waiting, ended = laboratory.status(lab)
    capacity: CapacityView = laboratory.capacity()
    return StatusView(
        running=tuple(running),
        waiting=tuple(waiting),
        waiting_count=laboratory.waiting_count(lab),
        ended=tuple(ended),
        counts=laboratory.counts(lab),
        capacity=capacity,
        server=surrounding_of(state).server_view(),
    )


@get("/v1/server")
async def show_server(state: State) -> ServerView:
    """Say who serves this home, since when."""
    return surrounding_of(state).server_view()


@post("/v1/server/stop", status_code=200)
async def stop_server(state: State) -> dict[str, bool]:
    """Let the server leave; whatever runs, runs on."""
    asyncio.get_running_loop().call_later(0.05, surrounding_of(state).leave)
    return {"leaving": True}


@get("/v1/doctor")
async def diagnose(state: State) -> Diagnosis:
    """Check what labrun needs of this home and this host."""
    return await asyncio.to_thread(surrounding_of(state).diagnose)  # it reads every seal


@post("/v1/reindex", status_code=200)
async def reindex(state: State) -> dict[str, int]:
    """Rebuild the index from the folders alone."""
    return {"experiments": await laboratory_of(state).reindex()}


ROUTES = (
    submit,
    list_experiments,
    show_experiment,
    list_events,
    read_logs,
    cancel,
    signal,
    type_keys,
    resume,
    show_status,
    show_server,
    stop_server,
    diagnose,
    reindex,
)
