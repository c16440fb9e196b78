import asyncio
import resource
from pathlib import Path

from labrun.worker.bell import Bell
from labrun.worker.logs import FileWatch


def test_without_inotify_files_are_not_watched_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "log").touch()

    async def watch() -> bool:
        files = FileWatch()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))  # the error is that of used-up inotify instances
        try:
            files.open()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        with files.ringing(Bell(), [tmp_path / "log"]) as is_complete:
            files.close()
            return is_complete

    assert asyncio.run(watch()) is False
