"""The worker as the server sees it: what can be asked of a home, one method each."""
# Long because there are so many questions; each method only finds the experiment and asks who knows.

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from msgspec import structs, to_builtins

from labrun.capture.resolve import ChangedFields
from labrun.capture.survey import survey
from labrun.core.errors import BadValue, NotAllowedNow, NotFound
from labrun.core.ids import RunId, attempt_id, label_number
from labrun.core.narrative import Told
from labrun.core.spec import Source
from labrun.store.chain import find_cancelled
from labrun.store.folder import Folder
from labrun.store.journal import Journal
from labrun.store.queue.protocol import Row
from labrun.store.remembered_links import remembered
from labrun.store.seal import read_artifacts, seal_digests
from labrun.wire.metrics import MetricPage, MetricsView
from labrun.wire.requests import Cancel, Keys, Order, Purge, Rerun, Restore, Resume, Say, Search, Submit
from labrun.wire.responses import (
    Accepted,
    CapacityView,
    DescriptionView,
    EventPage,
    Experiment,
    ExperimentDetail,
    ExperimentPage,
    LogHeader,
    Rerunning,
    Restored,
    SurveyView,
    TrashView,
    Typed,
)
from labrun.wire.transfer import FileListing
from labrun.worker import accept, cancel, deleting, lookup, narrate, rerun
from labrun.worker.changes import last_success
from labrun.worker.closing import Closing
from labrun.worker.dispatch import Dispatcher
from labrun.worker.failing import failure_card
from labrun.worker.floor import OpenExperiment
from labrun.worker.logs import FileWatch, LogQuery, LogReader
from labrun.worker.metrics import MetricBook, MetricQuery
from labrun.worker.parts import Parts
from labrun.worker.patience import keep_going
from labrun.worker.present import detail, detail_of_waiting, present, with_notes
from labrun.worker.progress import ProgressReader, UsagePeaks
from labrun.worker.recover import recover
from labrun.worker.reindex import catch_up, mend, rebuild
from labrun.worker.restore import check_destination, restore
from labrun.worker.sharing import Sharing
from labrun.worker.transfer import list_files, read_file
from labrun.worker.watch import Watch

_SHOWN_WAITING = 20
_KEYS_LIMIT = 48_000


class Laboratory:
    """One home at work."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._watch = Watch(parts)
        self._dispatcher = Dispatcher(parts, self._watch)
        self._sharing = Sharing(parts)
        self._closing = Closing(parts, self._sharing)
        self._files = FileWatch()
        self._log_reader = LogReader(self._files)
        self._progress = ProgressReader()
        self._peaks = UsagePeaks()
        self._metrics = MetricBook(self._files)

    async def open(self) -> None:
        """Catch up with what a crash left undone, then start the loops."""
        self._files.open()
        catch_up(self.parts)
        await recover(self.parts, self._watch, self._dispatcher)
        narrate.recall(self.parts)
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "dispatch": self._dispatcher.run,
            "changes": self._watch.follow_changes,
            "leases": self._watch.probe_leases,
            "closing": self._closing.run,
            "sharing": self._sharing.run,
            "index": partial(mend, self.parts),
        }
        for name, loop in loops.items():
            keep_going(self.parts, name, loop)

    def close(self) -> None:
        """Let go of the file watch; live attempts run on."""
        self._files.close()

    async def submit(self, lab: str, request: Submit, key: str | None) -> Accepted:
        """Accept one experiment durably."""
        taken, notices, is_reused = await accept.accept(self.parts, lab, request, key)
        shown = self._of_old_row(taken) if isinstance(taken, Row) else self._show(taken)
        earlier = None
        if isinstance(taken, OpenExperiment) and not is_reused and request.duplicates != "new":
            earlier = accept.similar(self.parts, taken.row.spec, run_id=taken.run_id)
        return Accepted(shown, tuple(notices), self._show(earlier) if earlier is not None else None, is_reused)

    async def survey(self, root: str) -> SurveyView:
        """Say what of a source folder would not be frozen, and what was answered about it before."""
        if not Path(root).is_absolute() or not await asyncio.to_thread(Path(root).is_dir):
            raise BadValue("folder", root, "an absolute path of a folder that is there")
        known = remembered(self.parts.home.links, root)
        if known is not None:
            return SurveyView(True, known, ())
        policy = self.parts.policy
        found = await asyncio.to_thread(survey, Path(root), policy.code_limit_bytes, policy.code_limit_files)
        return SurveyView(False, (), found)

    def _of_old_row(self, row: Row) -> Experiment:
        ended = self.parts.index.get(row.run_id)
        if ended is None:
            raise NotFound(row.label, row.spec.lab)
        return ended

    def find(self, reference: str, lab: str) -> OpenExperiment | Experiment:
        """Resolve a reference."""
        return lookup.find(self.parts, reference, lab)

    def show(self, reference: str, lab: str) -> Experiment:
        """Show one experiment as lists show it."""
        return self._show(self.find(reference, lab))

    def _show(self, found: OpenExperiment | Experiment) -> Experiment:
        if isinstance(found, Experiment):
            return found
        return self._progress.shown(found, present(self.parts, found, head_reason=self._dispatcher.reason))

    async def detail(self, reference: str, lab: str) -> ExperimentDetail:
        """Show everything about one experiment."""
        metrics = await self._metrics.recorded(self.find(reference, lab))
        found = self.find(reference, lab)
        shown = self._show(found)
        if isinstance(found, OpenExperiment):
            told, folder, artifacts = found.story, found.folder, found.artifacts or ()
        elif (place := lookup.folder_of(self.parts, shown)) is None:
            said = await asyncio.to_thread(narrate.told_of, self.parts.home, shown.run_id, None)
            line = await asyncio.to_thread(find_cancelled, self.parts.home.labs / shown.lab, shown.run_id)
            spec = line.spec if line is not None else None
            return structs.replace(detail_of_waiting(with_notes(shown, said), spec), told=said)
        else:
            folder = Folder(place)
            told = lookup.read_story(structs.replace(shown, folder=str(place)))
            artifacts = read_artifacts(folder)
        seals = seal_digests(folder) if folder is not None else {}
        success = last_success(self.parts, told)  # the index belongs to this thread
        judge = partial(failure_card, self.parts.code, told, folder, success) if folder is not None else None
        card = await asyncio.to_thread(judge) if judge is not None else None
        said = await asyncio.to_thread(narrate.told_of, self.parts.home, shown.run_id, folder)
        whole = detail(with_notes(shown, said), told, artifacts, seals)
        return structs.replace(whole, metrics=metrics, card=card, told=said)

    def page(self, lab: str, search: Search, order: Order, *, before: str | None, limit: int) -> ExperimentPage:
        """List a lab."""
        last = label_number(before) if before is not None else None
        if before is not None and last is None:
            raise BadValue("cursor", before, "a label, as `next` of the page before")
        shown = lookup.page(self.parts, lab, search, order, before=last, limit=limit, reason=self._dispatcher.reason)
        opened = ((one, self.parts.floor.get(one.run_id) if one.step == "running" else None) for one in shown)
        moving = tuple(self._progress.shown(found, one) if found is not None else one for one, found in opened)
        return ExperimentPage(moving, shown[-1].label if len(shown) == limit else None)

    async def cancel(self, reference: str, lab: str, request: Cancel) -> Experiment:
        """Ask an experiment to stop; durable when this returns.

        Raises:
            NotAllowedNow: It is over.
        """
        found = self.find(reference, lab)
        if isinstance(found, Experiment) or found.is_over:
            shown = self._show(found)
            raise NotAllowedNow("cancel", shown.label, shown.status, "created or processing")
        await cancel.cancel(self.parts, self._watch, found, by=request.by, is_urgent=request.is_urgent)
        return self._show(found)

    async def signal(self, reference: str, lab: str, number: int) -> Experiment:
        """Pass a signal to a running script.

        Raises:
            NotAllowedNow: It does not run.
        """
        found = self.find(reference, lab)
        is_running = isinstance(found, OpenExperiment) and found.is_live and found.is_launched
        shown = self._show(found)
        attempt = attempt_id(RunId(shown.run_id), shown.attempt)
        if is_running and await self.parts.engine.signal(attempt, number):
            return shown
        raise NotAllowedNow("signal", shown.label, shown.status, "running")

    async def type(self, reference: str, lab: str, keys: Keys) -> Typed:
        """Type into a running experiment's terminal.

        Raises:
            NotAllowedNow: It does not run, or has no terminal.
            BadValue: More than a supervisor reads at once.
        """
        if len(keys.input) > _KEYS_LIMIT:
            raise BadValue("keys", f"{keys.input[:20]}…", f"at most {_KEYS_LIMIT:,} characters of base64 at once")
        found = self.find(reference, lab)
        shown = self._show(found)
        if isinstance(found, OpenExperiment) and found.is_live and found.is_launched:
            typed = await self.parts.engine.type(found.attempt, keys)
            if typed is not None:
                return typed
            if found.row.spec.stdin != "terminal":
                raise NotAllowedNow("type into", shown.label, "running without a terminal", "started by `lab run -i`")
        raise NotAllowedNow("type into", shown.label, shown.status, "running")

    async def say(self, reference: str, lab: str, request: Say) -> Told:
        """Note what somebody says of an experiment, in whatever state it is."""
        return await narrate.say(self.parts, self.find(reference, lab), request)

    async def notes(self, reference: str, lab: str) -> Told:
        """Show what people said of an experiment."""
        shown = self.show(reference, lab)
        place = self._place_of(shown)
        folder = Folder(place) if place is not None else None
        return await asyncio.to_thread(narrate.told_of, self.parts.home, shown.run_id, folder)

    async def resume(self, reference: str, lab: str, request: Resume) -> Experiment:
        """Let an ended experiment wait for its next attempt.

        Raises:
            NotAllowedNow: It is open, succeeded, or never had a folder.
        """
        found = self.find(reference, lab)
        if isinstance(found, OpenExperiment) and found.is_over:
            await self._wait_sealed(found)
            found = self.find(reference, lab)
        shown = self._show(found)
        rerun.check_there(shown, "resume")
        is_ended = isinstance(found, Experiment) and shown.status in ("failed", "cancelled")
        if not is_ended or shown.folder is None:
            allowed = f"failed or cancelled after it had started; `lab resubmit {shown.label}` makes a new one"
            raise NotAllowedNow("resume", shown.label, shown.status, allowed)
        told = lookup.read_story(shown)
        opened = await accept.reopen(self.parts, told, Path(shown.folder), request.variables, request.by)
        return self._show(opened)

    async def rerun(
        self, reference: str, lab: str, request: Rerun, changed: ChangedFields, key: str | None
    ) -> Rerunning:
        """Make a new experiment from an old one, or only say what it would be."""
        planned = await rerun.plan(self.parts, self.find(reference, lab), request, changed)
        origin, accepted = planned.origin, None
        if not request.is_dry:
            taken, notices = await rerun.submit(self.parts, planned, request, changed, key)
            shown = self._of_old_row(taken) if isinstance(taken, Row) else self._show(taken)
            accepted = Accepted(shown, tuple(notices))
        return Rerunning(
            label=origin.label,
            code="now" if planned.is_fresh else "same",
            before=origin.spec.target.argv,
            after=planned.spec.target.argv,
            staged=planned.spec.staged,
            accepted=accepted,
            notices=tuple(planned.notices) if accepted is None else (),
        )

    async def description(self, reference: str, lab: str) -> DescriptionView:
        """Write an experiment as a person would."""
        return rerun.described(self.parts, self.find(reference, lab))

    async def delete(self, reference: str, lab: str, by: str) -> Experiment:
        """Move an experiment that is over to the trash; durable when this returns.

        Raises:
            NotAllowedNow: It is open, or deleted already.
        """
        found = self.find(reference, lab)
        if isinstance(found, OpenExperiment) and found.is_over:
            await self._wait_sealed(found)
            found = self.find(reference, lab)
        if isinstance(found, OpenExperiment):
            shown = self._show(found)
            raise NotAllowedNow("delete", shown.label, shown.status, f"over; `lab cancel {shown.label}` stops it")
        return deleting.delete(self.parts, found, by)

    async def undelete(self, reference: str, lab: str, by: str) -> Experiment:
        """Bring a deleted experiment back."""
        return deleting.undelete(self.parts, self.show(reference, lab), by)

    def trash(self, lab: str) -> TrashView:
        """Show what can be brought back."""
        return deleting.trash(self.parts, lab)

    async def purge(self, lab: str, request: Purge) -> TrashView:
        """Remove for good what was deleted long ago."""
        return await deleting.purge(self.parts, lab, request.older_than_s, request.by, is_dry=request.is_dry)

    async def restore(self, reference: str, lab: str, request: Restore) -> Restored:
        """Write an experiment's frozen code into a folder that is empty or new.

        Raises:
            NothingFrozen: It was submitted without a source folder.
        """
        found = self.find(reference, lab)
        source: Source | None = None
        if isinstance(found, OpenExperiment):
            source = found.row.spec.source
        elif found.folder is not None:
            source = lookup.read_story(found).spec.source
        # one that was cancelled while it waited has no folder; its code is kept all the same
        tree = source.tree if source is not None else self._show(found).tree
        label, destination = self._show(found).label, check_destination(request.destination)
        return await asyncio.to_thread(restore, self.parts.code, label, tree, source, destination)

    async def files(self, reference: str, lab: str) -> FileListing:
        """List every file in an experiment's folder."""
        shown = self.show(reference, lab)
        return await asyncio.to_thread(list_files, shown, self._place_of(shown))

    async def file(self, reference: str, lab: str, path: str, offset: int, limit_bytes: int) -> bytes:
        """Give a piece of one of its files."""
        place = self._place_of(self.show(reference, lab))
        return await asyncio.to_thread(read_file, place, path, offset, limit_bytes)

    def _place_of(self, shown: Experiment) -> Path | None:
        return Path(shown.folder) if shown.folder is not None else lookup.folder_of(self.parts, shown)

    async def _wait_sealed(self, experiment: OpenExperiment) -> None:
        floor = self.parts.floor
        await floor.bell.wait_for(lambda: floor.get(experiment.run_id) is None, 10.0)

    async def events(self, reference: str, lab: str, *, after: int, wait_s: float) -> EventPage:
        """Give the journal from a line on, waiting for more when there is none."""
        found = self.find(reference, lab)
        if isinstance(found, OpenExperiment):
            await found.bell.wait_for(lambda: len(found.history) > after or found.is_over, wait_s)
            news = tuple(to_builtins(found.history[after:]))
            return EventPage(news, max(len(found.history), after), found.is_over)
        if found.folder is None:
            return EventPage((), after, True)
        lines = Journal(Folder(Path(found.folder)).events).read_raw()
        return EventPage(tuple(lines[after:]), max(len(lines), after), True)

    async def logs(self, reference: str, lab: str, query: LogQuery) -> tuple[bytes, LogHeader]:
        """Give what the streams hold from the offsets on, waiting for more when there is none."""
        return await self._log_reader.read(self.find(reference, lab), query)

    async def metrics(self, reference: str, lab: str, query: MetricQuery) -> MetricPage:
        """Give the points of one attempt from a cursor on, waiting for more when there is none."""
        return await self._metrics.page(self.find(reference, lab), query)

    async def metric_summary(
        self, reference: str, lab: str, *, attempt: int | None, names: tuple[str, ...]
    ) -> MetricsView:
        """Sum up what one attempt measured, with a curve of each metric."""
        return await self._metrics.summary(self.find(reference, lab), attempt, names, has_curve=True)

    def status(self, lab: str) -> tuple[list[Experiment], list[Experiment]]:
        """Show what runs and the head of what waits, of one lab."""
        floor = self.parts.floor
        running = [
            self._peaks.shown(experiment, self._show(experiment))
            for experiment in floor.live()
            if experiment.row.spec.lab == lab
        ]
        waiting = [e for e in itertools.islice(floor.waiting(), 1000) if e.row.spec.lab == lab][:_SHOWN_WAITING]
        return running, [self._show(experiment) for experiment in waiting]

    def ended(self, lab: str, since: datetime | None) -> tuple[list[Experiment], int]:
        """Show what ended last in a lab, and how much of it since then."""
        return lookup.ended(self.parts, lab, since)

    def capacity(self) -> CapacityView:
        """What the host has, and what live attempts hold of it."""
        capacity, holding = self.parts.capacity, self.parts.floor.holding()
        return CapacityView(
            cpus=capacity.cpus,
            cpus_taken=sum(held.request.cpus or 0 for held in holding),
            memory_bytes=capacity.memory_bytes,
            memory_taken_bytes=sum(held.request.memory_bytes or 0 for held in holding),
            gpus=capacity.gpu_indices,
            gpus_taken=tuple(sorted(gpu for held in holding for gpu in held.gpus)),
            slots=capacity.slots,
            slots_taken=sum(held.request.is_empty for held in holding),
        )

    async def reindex(self) -> int:
        """Rebuild the index from the folders alone; return how many experiments it holds."""
        return await rebuild(self.parts)

    def waiting_count(self, lab: str) -> int:
        """How many experiments of a lab wait."""
        return self.parts.floor.waiting_in(lab)

    def counts(self, lab: str) -> dict[str, int]:
        """How many experiments of a lab have which status."""
        return dict(self.parts.floor.counts(lab) + Counter(self.parts.index.counts(lab)))

    def known_count(self) -> int:
        """How many experiments this home knows."""
        return len(self.parts.floor) + self.parts.index.count()
