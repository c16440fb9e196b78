"""The table of routes. Router and OpenAPI document are made from it; a route only translates."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.exceptions import ClientException
from litestar.params import Parameter

from labrun.capture.resolve import ChangedFields
from labrun.core.events import Status
from labrun.core.narrative import Told
from labrun.server.posted import Posted, check_changes, description_of, repeatable, submit_of
from labrun.server.queries import in_utc, metric_range, order_of
from labrun.wire.metrics import MetricPage, MetricsView
from labrun.wire.requests import (
    Cancel,
    Delete,
    Keys,
    Purge,
    Rerun,
    Restore,
    Resume,
    Say,
    Search,
    Signal,
    Survey,
)
from labrun.wire.responses import (
    Accepted,
    CapacityView,
    DescriptionView,
    Diagnosis,
    EventPage,
    Experiment,
    ExperimentDetail,
    ExperimentPage,
    LogHeader,
    Rerunning,
    Restored,
    ServerView,
    StatusView,
    SurveyView,
    TrashView,
    Typed,
)
from labrun.worker.laboratory import Laboratory
from labrun.worker.logs import LogQuery
from labrun.worker.metrics import MetricQuery

Limit = Annotated[int, Parameter(ge=1, le=1000)]
Wait = Annotated[float, Parameter(ge=0, le=60)]
Offset = Annotated[int | None, Parameter(ge=0, lt=2**62)]


class Surrounding(msgspec.Struct):
    """What routes need beside the laboratory; plain functions bound by bootstrap."""

    server_view: Callable[[], ServerView]
    diagnose: Callable[[], Diagnosis]
    leave: Callable[[], None]
    resolve: Callable[[dict[str, Any]], tuple[dict[str, Any], tuple[str, ...]]]
    """From a description to the plain `Submit` it means and what should be said; looks at the disk."""
    resolve_changes: Callable[[dict[str, Any]], ChangedFields]
    """What checked fields of a description mean for an experiment that exists; looks at the disk."""


def laboratory_of(state: State) -> Laboratory:
    """The laboratory this server serves."""
    found: Laboratory = state["laboratory"]
    return found


def surrounding_of(state: State) -> Surrounding:
    """The server's own facts."""
    found: Surrounding = state["surrounding"]
    return found


def idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    """The key that makes a repeated request the same one.

    Raises:
        ClientException: It is too short or too long to be one.
    """
    key: str | None = request.headers.get("idempotency-key")
    if key is not None and not 8 <= len(key) <= 128:
        raise ClientException("Idempotency-Key needs 8 to 128 characters")
    return key


@post("/v1/labs/{lab:str}/experiments", status_code=201, type_decoders=[(Posted.is_type, Posted.decode)])
async def submit(request: Request[Any, Any, Any], state: State, lab: str, data: Posted) -> Accepted:
    """Accept one experiment; the answer comes after it is durable.

    The body is an experiment as people write it (the object of an experiment file; `name`, `script`,
    `config`, `pod_type` and `timeout` suffice), or a `Submit` in which all of it is worked out.
    """
    key = idempotency_key(request)
    if not data.is_description:
        return await laboratory_of(state).submit(lab, submit_of(data.plain), key)
    description = description_of(await request.body(), lab)
    plain, notices = await asyncio.to_thread(surrounding_of(state).resolve, description)
    accepted = await laboratory_of(state).submit(lab, repeatable(submit_of(plain), key), key)
    return msgspec.structs.replace(accepted, notices=(*notices, *accepted.notices))


@post("/v1/survey", status_code=200)
async def survey(state: State, data: Survey) -> SurveyView:
    """Say what of a source folder would not be frozen, and what was answered about it before."""
    return await laboratory_of(state).survey(data.root)


@get("/v1/labs/{lab:str}/experiments")
async def list_experiments(
    state: State,
    lab: str,
    limit: Limit = 20,
    before: str | None = None,
    status: Status | None = None,
    name: str | None = None,
    tag: list[str] | None = None,
    group: str | None = None,
    user: str | None = None,
    word: list[str] | None = None,
    since: datetime | None = None,
    metric: list[str] | None = None,
    parent: str | None = None,
    sort: str = "newest",
) -> ExperimentPage:
    """List experiments; `next` of one page is `before` of the next.

    `metric` is like `loss<0.3`. `sort` is `newest`, `oldest`, `longest`, `name`, or a metric, its greatest first with
    a minus before it; experiments that lack what they are sorted by are left out.
    """
    search = Search(
        status=status,
        name=name,
        tags=tuple(tag or ()),
        group=group,
        user=user,
        words=tuple(word or ()),
        since=in_utc(since),
        metrics=tuple(map(metric_range, metric or ())),
        parent=parent,
    )
    return laboratory_of(state).page(lab, search, order_of(sort), before=before, limit=limit)


@get("/v1/labs/{lab:str}/experiments/{reference:str}")
async def show_experiment(state: State, lab: str, reference: str) -> ExperimentDetail:
    """Show everything about one experiment."""
    return await laboratory_of(state).detail(reference, lab)


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
    tail_lines: Offset = None,
    since: Annotated[float | None, Parameter(ge=0, lt=2**40)] = None,
    times: bool = False,
) -> Response[bytes]:
    """Give the bytes of each stream that has an offset; the header `Lab-Log` says how they divide.

    `tail_bytes`, `tail_lines` and `since` (Unix seconds) begin there instead, at the latest of those
    given; with `times` the header says when what was written.
    """
    query = LogQuery(stdout, stderr, attempt, wait_s, limit_bytes, tail_bytes, tail_lines, since, times)
    body, header = await laboratory_of(state).logs(reference, lab, query)
    return Response(body, headers={"Lab-Log": _header(header)}, media_type="application/octet-stream")


@get("/v1/labs/{lab:str}/experiments/{reference:str}/metrics")
async def list_points(
    state: State,
    lab: str,
    reference: str,
    names: list[str] | None = None,
    after: Annotated[str | None, Parameter(max_length=100)] = None,
    attempt: Annotated[int | None, Parameter(ge=1)] = None,
    wait_s: Wait = 0,
    limit_bytes: Annotated[int, Parameter(ge=2**16, le=2**23)] = 2**20,
) -> MetricPage:
    """Give what was measured, in the order it was written; `next` of one page is `after` of the next.

    `names` may be repeated. `limit_bytes` bounds what is read of the files; with `wait_s`, wait for more.
    """
    query = MetricQuery(tuple(names or ()), after, attempt, wait_s, limit_bytes)
    return await laboratory_of(state).metrics(reference, lab, query)


@get("/v1/labs/{lab:str}/experiments/{reference:str}/metrics/summary")
async def sum_up_metrics(
    state: State,
    lab: str,
    reference: str,
    names: list[str] | None = None,
    attempt: Annotated[int | None, Parameter(ge=1)] = None,
) -> MetricsView:
    """Sum up each metric of an attempt: last, best, extremes, counts, a small curve. `names` may be repeated."""
    return await laboratory_of(state).metric_summary(reference, lab, attempt=attempt, names=tuple(names or ()))


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


@get("/v1/labs/{lab:str}/experiments/{reference:str}/notes")
async def show_notes(state: State, lab: str, reference: str) -> Told:
    """Show what people said of an experiment."""
    return await laboratory_of(state).notes(reference, lab)


@post("/v1/labs/{lab:str}/experiments/{reference:str}/notes", status_code=200)
async def say(state: State, lab: str, reference: str, data: Say) -> Told:
    """Note what somebody says of an experiment; durable when answered, never sealed over."""
    return await laboratory_of(state).say(reference, lab, data)


@post("/v1/labs/{lab:str}/experiments/{reference:str}/resume", status_code=200)
async def resume(state: State, lab: str, reference: str, data: Resume) -> Experiment:
    """Let an ended experiment wait for its next attempt: same code, same configuration."""
    return await laboratory_of(state).resume(reference, lab, data)


@post("/v1/labs/{lab:str}/experiments/{reference:str}/rerun", status_code=200)
async def rerun(request: Request[Any, Any, Any], state: State, lab: str, reference: str, data: Rerun) -> Rerunning:
    """Make a new experiment from this one: the same again, or with other arguments, files and values.

    With `is_dry` nothing is accepted. Paths in `changes` are absolute.
    """
    check_changes(data.changes)
    changed = await asyncio.to_thread(surrounding_of(state).resolve_changes, data.changes)
    return await laboratory_of(state).rerun(reference, lab, data, changed, idempotency_key(request))


@get("/v1/labs/{lab:str}/experiments/{reference:str}/description")
async def describe(state: State, lab: str, reference: str) -> DescriptionView:
    """Write an experiment as a person would, ready to be changed and submitted."""
    return await laboratory_of(state).description(reference, lab)


@post("/v1/labs/{lab:str}/experiments/{reference:str}/delete", status_code=200)
async def delete(state: State, lab: str, reference: str, data: Delete) -> Experiment:
    """Move an experiment that is over to the trash; its label is never given again."""
    return await laboratory_of(state).delete(reference, lab, data.by)


@post("/v1/labs/{lab:str}/experiments/{reference:str}/undelete", status_code=200)
async def undelete(state: State, lab: str, reference: str, data: Delete) -> Experiment:
    """Bring a deleted experiment back."""
    return await laboratory_of(state).undelete(reference, lab, data.by)


@get("/v1/labs/{lab:str}/trash")
async def show_trash(state: State, lab: str) -> TrashView:
    """Show what was deleted and can be brought back."""
    return laboratory_of(state).trash(lab)


@post("/v1/labs/{lab:str}/purge", status_code=200)
async def purge(state: State, lab: str, data: Purge) -> TrashView:
    """Remove for good what has been in the trash for long; with `is_dry`, say what would go."""
    return await laboratory_of(state).purge(lab, data)


@post("/v1/labs/{lab:str}/experiments/{reference:str}/restore", status_code=200)
async def restore(state: State, lab: str, reference: str, data: Restore) -> Restored:
    """Write the code that was frozen into a folder on this host that is empty or new."""
    return await laboratory_of(state).restore(reference, lab, data)


@get("/v1/labs/{lab:str}/status")
async def show_status(state: State, lab: str, since: datetime | None = None) -> StatusView:
    """Show what runs, what waits and why, and what ended last; up to 20 of what ended `since` a moment."""
    laboratory = laboratory_of(state)
    running, waiting = laboratory.status(lab)
    ended, news_count = laboratory.ended(lab, in_utc(since))
    capacity: CapacityView = laboratory.capacity()
    return StatusView(
        running=tuple(running),
        waiting=tuple(waiting),
        waiting_count=laboratory.waiting_count(lab),
        ended=tuple(ended),
        news_count=news_count,
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
    survey,
    list_experiments,
    show_experiment,
    list_events,
    read_logs,
    list_points,
    sum_up_metrics,
    cancel,
    signal,
    type_keys,
    show_notes,
    say,
    resume,
    rerun,
    describe,
    delete,
    undelete,
    show_trash,
    purge,
    restore,
    show_status,
    show_server,
    stop_server,
    diagnose,
    reindex,
)
