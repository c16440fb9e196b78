"""What the index holds can be had again from the folders and the lists beside them, as it was."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from labrun.core import story
from labrun.core.endings import Exited
from labrun.core.events import CancelRequested
from labrun.core.line import encode_line
from labrun.store.home import init_home
from labrun.store.index import Index
from labrun.store.seal import CancelledWaiting, append_cancelled
from labrun.wire.responses import Experiment as Shown
from labrun.worker.floor import Floor
from labrun.worker.present import view
from labrun.worker.reindex import catch_up, rebuild
from tests.store.experiments import Experiment, life

AT = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Any]:
    """What reindexing needs of a worker."""
    home = init_home(tmp_path / "lab")
    index = Index.open(home.index)
    yield SimpleNamespace(home=home, index=index, floor=Floor())
    index.close()


def failed(parts: Any, number: int, attempts: int = 1) -> Path:
    """The folder of an experiment that ran so many times."""
    experiment = Experiment(parts.home.root, number)
    for attempt in range(1, attempts + 1):
        experiment.end(attempt, Exited(3))
    return experiment.folder.path


def cancelled_in_line(parts: Any, number: int, folder: Path | None, attempt: int) -> Shown:
    """Note the cancel of an attempt that waited; nothing of it is in the folder."""
    asked = life(number, Exited(3), attempts=attempt)[: 1 + 6 * (attempt - 1)]
    told = story.tell([*asked, CancelRequested(at=AT, by="ada")])
    shown = view(told, folder=str(folder) if folder is not None else None, is_sealed=False)
    append_cancelled(parts.home.labs / "main", CancelledWaiting(shown.run_id, shown))
    return shown


def as_indexed(parts: Any, number: int) -> tuple[str, int]:
    shown = parts.index.by_label(number)
    return shown.status, shown.attempt


@pytest.mark.parametrize("how", ["rebuilt", "caught up"])
def test_a_cancel_in_line_is_known_again_whatever_the_folder_says(parts: Any, how: str) -> None:
    resumed, again = failed(parts, 1), failed(parts, 2, attempts=3)
    assert cancelled_in_line(parts, 1, resumed, 2).status == "cancelled"
    cancelled_in_line(parts, 2, again, 2)  # resumed once more since, and ended
    cancelled_in_line(parts, 3, None, 1)
    if how == "rebuilt":
        assert asyncio.run(rebuild(parts)) == 3
    else:
        sealed = structs.replace(cancelled_in_line(parts, 2, again, 2), attempt=3, status="failed")
        parts.index.apply([sealed], consumed={})
        catch_up(parts)
    assert [as_indexed(parts, number) for number in (1, 2, 3)] == [("cancelled", 2), ("failed", 3), ("cancelled", 1)]


def test_one_that_ends_while_folders_are_read_is_kept_as_it_ended(parts: Any) -> None:
    ended, *slow = failed(parts, 1), failed(parts, 2) / "events.jsonl", failed(parts, 3) / "events.jsonl"
    whole = (ended / "events.jsonl").read_bytes()
    (ended / "events.jsonl").write_bytes(b"".join(map(encode_line, life(1)[:4])))  # it runs when it is read
    for path in slow:
        path.unlink()
        os.mkfifo(path)

    async def end_meanwhile() -> None:
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(rebuild(parts))
            os.close(await asyncio.to_thread(os.open, slow[0], os.O_WRONLY))  # the first folder has been read
            (ended / "events.jsonl").write_bytes(whole)
            told = story.tell(life(1, Exited(3)))
            parts.index.apply([view(told, folder=str(ended), is_sealed=True)], consumed={})
            os.close(await asyncio.to_thread(os.open, slow[1], os.O_WRONLY))  # only now can the reading come to its end
            await work

    asyncio.run(end_meanwhile())
    assert as_indexed(parts, 1) == ("failed", 1)
