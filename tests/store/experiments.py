"""Ended experiments on disk, as the worker leaves them to be sealed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct, structs

from labrun.core import story
from labrun.core.endings import Ending, Exited
from labrun.core.events import Accepted, Checked, Cloned, Dispatched, Ended, Event, ResumeRequested, Started
from labrun.core.ids import Label, RunId, folder_name
from labrun.core.line import encode_line
from labrun.core.resources import Request
from labrun.core.spec import Source, Spec, Surroundings, Target
from labrun.core.story import Story
from labrun.store.artifacts import scan
from labrun.store.folder import Folder
from labrun.store.journal import Journal
from labrun.store.seal import SealJob
from labrun.store.working import Entry

THEN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SPEC = Spec(
    Target("script", "train.py", ("/usr/bin/python3", "train.py", "--lr", "1e-3")),
    name="planck bao",
    source=Source("/home/ada/planck", tree="ab" * 20, cwd="sub"),
    surroundings=Surroundings("cd" * 32),
    interpreter="/usr/bin/python3",
    resources=Request(cpus=2, memory_bytes=8 * 2**30),
    priority=7,
    timeout_s=5400.0,
    note="is the slope robust?",
    user="ada",
    host="box",
)


class Record(Struct, frozen=True, omit_defaults=True):
    """Some fields of an exit record."""

    code: int = 0
    duration_s: float = 8.0
    user_s: float = 3.0
    system_s: float = 1.0
    peak_memory_bytes: int | None = None
    read_bytes: int | None = None


RECORD = Record(3, 8.0, 3.0, 1.0, 2**30, 2**20)


def at(seconds: float) -> datetime:
    return THEN + timedelta(seconds=seconds)


def life(number: int, ending: Ending | None = None, spec: Spec = SPEC, attempts: int = 1) -> list[Event]:
    run_id = RunId(f"2026-11-20_{number:08d}")
    events: list[Event] = [Accepted(at=at(0), run_id=run_id, label=Label(f"EXP-{number:03d}"), spec=spec)]
    for attempt in range(1, attempts + 1):
        begun = 100.0 * attempt
        if attempt > 1:
            events.append(ResumeRequested(at=at(begun), attempt=attempt, by="ada"))
        events += [
            Dispatched(at=at(begun + 1), attempt=attempt, worker="w"),
            Cloned(at=at(begun + 2), attempt=attempt, tree=spec.source.tree, file_count=3),
            Started(at=at(begun + 3), attempt=attempt, pid=7, enforced={"memory": "counted"}),
            Ended(at=at(begun + 12), attempt=attempt, ending=ending or Exited(0), ended_at=at(begun + 11)),
            Checked(at=at(begun + 13), attempt=attempt, artifact_count=0, artifact_bytes=0),
        ]
    return events


class Experiment:
    """One experiment's folder and what its worker knows."""

    def __init__(self, home: Path, number: int = 1, lab: str = "main", spec: Spec = SPEC) -> None:
        self.home = home
        self.number = number
        self.spec = structs.replace(spec, lab=lab)
        name = folder_name(Label(f"EXP-{number:03d}"), spec.name, "train")
        self.folder = Folder(home / "labs" / lab / "2026-11" / name).create()

    def end(self, attempt: int = 1, ending: Ending | None = None, code: Mapping[str, Entry] | None = None) -> SealJob:
        """Leave what an attempt leaves, and say what is to be sealed."""
        events = life(self.number, ending, self.spec, attempt)
        written = Journal(self.folder.events).read(Event)[0] if self.folder.events.exists() else []
        Journal(self.folder.events).append(*events[len(written) :])
        here = self.folder.attempt(attempt).create()
        here.stdout.write_bytes(b"epoch 1\n\xff\n")
        here.usage.write_bytes(encode_line({"rss": 1}))
        here.log_index.write_bytes(encode_line({"t": 1.0, "stdout": 10}))
        told: Story = story.tell(events)
        control = self.home / "control"
        control.mkdir(exist_ok=True)
        paths = {}
        for name in ("order", "started", "exit"):
            path = control / f"{told.run_id}.{attempt}.{name}"
            path.write_bytes(encode_line({"attempt_id": f"{told.run_id}.{attempt}", "what": name}))
            paths[name] = str(path)
        artifacts = scan(self.folder, code or {})
        return SealJob(self.folder, attempt, told, paths, RECORD, artifacts, at(100.0 * attempt + 20))
