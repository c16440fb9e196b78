import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from labrun.store.artifacts import located, scan, written
from labrun.store.code import CodeStore
from labrun.store.folder import Folder
from labrun.store.working import Entry


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "labs/main/2026-11/EXP-001").create()


@pytest.fixture
def code(tmp_path: Path, folder: Folder) -> dict[str, Entry]:
    """Three frozen files, checked out into `work/`."""
    root = tmp_path / "source"
    for name in ("run.py", "lib/a.py", "config.toml"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}\n")
    (root / "link").symlink_to("run.py")
    store = CodeStore(tmp_path / "code.git")
    listing = SimpleNamespace(files=("run.py", "lib/a.py", "config.toml", "link"))
    tree = store.freeze(root, listing).tree
    store.checkout(tree, folder.work)
    return dict(store.entries(tree))


def paths(folder: Folder, code: dict[str, Entry] | None = None) -> list[str]:
    return [artifact.path for artifact in scan(folder, code or {})]


def test_outputs_are_listed_with_size_and_time(folder: Folder) -> None:
    (folder.outputs / "deep/er").mkdir(parents=True)
    (folder.outputs / "deep/er/result.json").write_text("{}")
    os.utime(folder.outputs / "deep/er/result.json", (1_700_000_000, 1_700_000_000.25))
    (found,) = scan(folder, {})
    assert (found.path, found.size_bytes) == ("outputs/deep/er/result.json", 2)
    assert found.modified == datetime(2023, 11, 14, 22, 13, 20, 250_000, tzinfo=UTC)


def test_unchanged_code_is_no_artifact(folder: Folder, code: dict[str, Entry]) -> None:
    assert paths(folder, code) == []


def test_new_and_changed_files_of_the_working_copy_are_artifacts(folder: Folder, code: dict[str, Entry]) -> None:
    (folder.work / "checkpoint.pt").write_text("1")
    (folder.work / "run.py").write_text("THIS is run.py\n")
    (folder.work / "lib/a.py").chmod(0o755)
    (folder.work / "link").unlink()
    (folder.work / "link").symlink_to("config.toml")
    assert paths(folder, code) == ["work/checkpoint.pt", "work/lib/a.py", "work/link", "work/run.py"]


def test_a_code_file_that_was_touched_or_rewritten_alike_is_no_artifact(folder: Folder, code: dict[str, Entry]) -> None:
    os.utime(folder.work / "run.py")
    (folder.work / "lib/a.py").write_text("this is lib/a.py\n")
    assert paths(folder, code) == []


def test_caches_of_python_are_skipped(folder: Folder, code: dict[str, Entry]) -> None:
    for place in (folder.work / "lib", folder.outputs):
        (place / "__pycache__").mkdir()
        (place / "__pycache__/a.pyc").write_text("x")
    assert paths(folder, code) == []


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta/history"])
def test_environments_made_in_the_working_copy_are_none_and_those_in_outputs_are(folder: Folder, mark: str) -> None:
    for place in ("work/.venv", "outputs/env"):
        for name in (mark, "bin/python"):
            (folder.path / place / name).parent.mkdir(parents=True, exist_ok=True)
            (folder.path / place / name).write_text("x")
    assert paths(folder) == sorted([f"outputs/env/{mark}", "outputs/env/bin/python"])


def test_links_are_listed_and_not_followed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/private").write_text("x")
    (folder.outputs / "latest").symlink_to(tmp_path / "elsewhere")
    (folder.outputs / "loop").symlink_to(".")
    assert paths(folder) == ["outputs/latest", "outputs/loop"]


def test_what_is_no_file_is_no_artifact(folder: Folder) -> None:
    os.mkfifo(folder.outputs / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{os.open(folder.outputs, os.O_PATH)}/sock")
        assert paths(folder) == []


def test_a_folder_that_is_gone_has_no_artifacts(tmp_path: Path) -> None:
    assert scan(Folder(tmp_path / "labs/main/2026-11/EXP-404"), {}) == []


def test_files_that_vanish_meanwhile_do_no_harm(folder: Folder) -> None:
    stop = threading.Event()
    (folder.outputs / "stays").write_text("x")

    def churn() -> None:
        while not stop.is_set():
            for i in range(20):
                (folder.outputs / f"d{i}").mkdir(exist_ok=True)
                (folder.outputs / f"d{i}/f").write_text("x")
            for i in range(20):
                (folder.outputs / f"d{i}/f").unlink()
                (folder.outputs / f"d{i}").rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        assert all("outputs/stays" in paths(folder) for _ in range(200))
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("name", ["caf\udce9.txt", "ü 漢.txt", "new\nline", "-rf", "\\xe9", "a\\x41\udcff"])
def test_any_name_can_be_written_in_json_and_found_again(folder: Folder, name: str) -> None:
    (folder.outputs / name).write_text(name.encode("utf-8", "surrogateescape").hex())
    (found,) = scan(folder, {})
    msgspec.json.encode(found)
    assert found.path == f"outputs/{written(name)}"
    if name != "a\\x41\udcff":  # a name that spells out an escape beside a byte that needs one is lost
        assert Path(located(str(folder.path), found.path)).exists()


def test_a_time_no_calendar_knows_is_survived(folder: Folder) -> None:
    (folder.outputs / "odd").write_text("x")
    os.utime(folder.outputs / "odd", (2**33, 2**33))
    assert len(scan(folder, {})) == 1


def test_many_files_are_listed_in_order(folder: Folder) -> None:
    for i in range(2000):
        (folder.outputs / f"{i % 7}-{i}").touch()
    found = paths(folder)
    assert len(found) == 2000
    assert found == sorted(found)
