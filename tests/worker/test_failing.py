"""The command that mends a failure: only where it is sure, and ready to be pasted."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

from labrun.core.endings import Exited
from labrun.core.spec import ConfigFile, Input, Link, Source, Spec, Target
from labrun.store.folder import Folder
from labrun.worker.failing import judge_end, last_lines


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "EXP-001")
    made.attempt(1).create()
    made.work.mkdir()
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A source folder with things that were not frozen."""
    for name in ("data/x.csv", "old/y.csv", "sub/z.csv"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    return tmp_path / "root"


def hint(folder: Folder, root: Path, missed: str, **fields: object) -> str | None:
    """What is advised after a script did not find a file."""
    text = f"""Traceback (most recent call last):
  File "{folder.work}/fit.py", line 1, in <module>
FileNotFoundError: [Errno 2] No such file or directory: '{missed}'
"""
    folder.attempt(1).stderr.write_text(text)
    spec = structs.replace(
        Spec(Target("script", "fit.py", ("/v/python", "fit.py", "a b")), source=Source(str(root)), interpreter="/v"),
        **fields,
    )
    return judge_end(folder, 1, spec, Exited(1), None, 2**34)[1]


def test_a_file_that_lies_in_the_source_folder_is_to_be_linked(folder: Folder, root: Path) -> None:
    assert hint(folder, root, "data/x.csv") == "lab run --link data fit.py 'a b'"
    assert hint(folder, root, f"{folder.work}/data/x.csv") == "lab run --link data fit.py 'a b'"


def test_of_a_folder_that_is_there_only_the_file_is_linked(folder: Folder, root: Path) -> None:
    (folder.work / "data").mkdir()
    assert hint(folder, root, "data/x.csv") == "lab run --link data/x.csv fit.py 'a b'"


def test_places_count_from_where_it_was_typed(folder: Folder, root: Path) -> None:
    (folder.work / "sub").mkdir()
    source = Source(str(root), cwd="sub")
    assert hint(folder, root, "../data/x.csv", source=source) == "lab run --link ../data fit.py 'a b'"


def test_links_that_were_there_are_kept(folder: Folder, root: Path) -> None:
    # else the next run would miss those, and be told to link them without this one
    source = Source(str(root), links=(Link("old", f"{root}/old"),))
    assert hint(folder, root, "data/x.csv", source=source) == "lab run --link old --link data fit.py 'a b'"


def test_configuration_and_data_are_given_again(folder: Folder, root: Path) -> None:
    told = hint(
        folder,
        root,
        "data/x.csv",
        configs=(ConfigFile(f"{root}/c.yaml", "submitted/config/c.yaml", "c" * 64, 1),),
        inputs=(Input("sky", "/data/sky", "d" * 64, 1, 1, datetime(2026, 11, 20, tzinfo=UTC)),),
    )
    assert told == "lab run --link data --config c.yaml --input sky=/data/sky fit.py 'a b'"


@pytest.mark.parametrize(
    ("target", "rest"),
    [
        (Target("module", "a.b", ("/v/python", "-m", "a.b", "x")), "-m a.b x"),
        (Target("program", "sh", ("sh", "-c", "cat data/x.csv")), "-- sh -c 'cat data/x.csv'"),
    ],
)
def test_modules_and_programs_are_named_as_they_were(folder: Folder, root: Path, target: Target, rest: str) -> None:
    assert hint(folder, root, "data/x.csv", target=target) == f"lab run --link data {rest}"


def test_a_caller_outside_is_advised_only_about_files_of_the_copy(folder: Folder, root: Path) -> None:
    source = Source(str(root), cwd=str(root.parent), cwd_is_live=True)
    target = Target("script", "root/fit.py", ("/v/python", f"{root}/fit.py"))
    missed = f"{folder.work}/data/x.csv"
    assert hint(folder, root, missed, source=source, target=target) == "lab run --link root/data root/fit.py"
    assert hint(folder, root, "data/x.csv", source=source, target=target) is None, "it looked into its own folder"


@pytest.mark.parametrize("missed", ["nowhere.csv", "/etc/nowhere", "../root/data/x.csv", "a\0b", "x" * 300])
def test_what_no_link_would_mend_gets_no_advice(folder: Folder, root: Path, missed: str) -> None:
    assert hint(folder, root, missed) is None


def test_live_ones_and_those_without_code_get_none(folder: Folder, root: Path) -> None:
    assert hint(folder, root, "data/x.csv", source=Source(cwd="/", cwd_is_live=True)) is None
    live = Source(str(root), cwd=str(root), cwd_is_live=True, is_live=True)
    assert hint(folder, root, "data/x.csv", source=live) is None


def test_the_last_lines_are_those_that_stayed_on_the_screen(folder: Folder) -> None:
    folder.attempt(1).stderr.write_bytes(b"10%\r20%\r100%\nof Windows\r\nlast \xff\n\n")
    assert last_lines(folder, 1) == ("100%", "of Windows", "last \ufffd")
    folder.attempt(1).stderr.unlink()
    folder.attempt(1).stdout.write_text("out\n" * 20)
    assert last_lines(folder, 1) == ("out",) * 12
