import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from labrun.capture.inputs import DataHashes
from labrun.core.errors import BadStaging
from labrun.core.spec import Spec, Staged, Target
from labrun.store.folder import Folder
from labrun.store.home import init_home
from labrun.store.index import Index
from labrun.worker.deleting import delete
from labrun.worker.floor import Floor
from labrun.worker.staging import check_names, lay_out, look, originals
from tests.store.test_index import ended
from tests.worker.test_deleting import StillClock

RUN_ID = "2026-11-20_00000001"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of the experiment to stage from."""
    folder = Folder(tmp_path / "labs/main/2026-11/EXP-001-old").create()
    (folder.outputs / "model.pt").write_bytes(b"weights")
    (folder.work / "notes.txt").write_text("n")
    return folder.path


def seen(folder: Path, given: str) -> Staged:
    parts: Any = SimpleNamespace(data=DataHashes())
    return look(parts, RUN_ID, "EXP-001", folder, given)


@pytest.mark.parametrize("given", ["outputs/model.pt", "outputs/../outputs/./model.pt", "ABSOLUTE"])
def test_a_file_is_described_by_its_place_and_its_hash(old: Path, given: str) -> None:
    staged = seen(old, str(old / "outputs/model.pt") if given == "ABSOLUTE" else given)
    assert staged == Staged("model.pt", RUN_ID, "outputs/model.pt", hashlib.sha256(b"weights").hexdigest(), 7)


def test_a_name_that_is_no_text_is_named_as_records_write_it(old: Path) -> None:
    Path(os.fsdecode(os.fsencode(old / "outputs") + b"/caf\xe9.pt")).write_bytes(b"w")
    staged = seen(old, "outputs/caf\\xe9.pt")
    assert (staged.name, staged.path) == ("caf\\xe9.pt", "outputs/caf\\xe9.pt")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("../EXP-002/model.pt", "lies outside EXP-001"),
        ("/etc/hostname", "lies outside EXP-001"),
        ("outputs/../..", "lies outside EXP-001"),
        (".", "lies outside EXP-001"),
        ("", "is no path"),
        ("a\0b", "is no path"),
        ("outputs", "is a folder"),
        ("outputs/pipe", "is no regular file"),
        ("outputs/out", "is a link to a place outside it"),
        ("outputs/dangling", "there is no `outputs/dangling` in EXP-001"),
        ("work/notes.txt/x", "there is no `work/notes.txt/x` in EXP-001"),
    ],
)
def test_what_cannot_be_staged_is_refused(old: Path, given: str, told: str) -> None:
    os.mkfifo(old / "outputs/pipe")
    (old / "outputs/out").symlink_to("/etc/hostname")
    (old / "outputs/dangling").symlink_to("nowhere")
    with pytest.raises(BadStaging) as refused:
        seen(old, given)
    assert told in refused.value.message


def test_a_link_inside_the_folder_is_followed(old: Path) -> None:
    (old / "outputs/best.pt").symlink_to("model.pt")
    assert seen(old, "outputs/best.pt").size_bytes == 7


@pytest.mark.parametrize(
    ("given", "guess"), [("model.pt", "outputs/model.pt"), ("outputs/modle.pt", "outputs/model.pt")]
)
def test_the_file_that_was_meant_is_named(old: Path, given: str, guess: str) -> None:
    with pytest.raises(BadStaging) as refused:
        seen(old, given)
    assert refused.value.hint == f"did you mean `{guess}`?"


def test_two_files_of_one_name_are_refused(old: Path) -> None:
    (old / "work/model.pt").write_text("x")
    staged = (seen(old, "outputs/model.pt"), seen(old, "work/model.pt"))
    check_names(staged[:1])
    with pytest.raises(BadStaging, match=r"`outputs/model.pt` and `work/model.pt` are both called `model.pt`"):
        check_names(staged)


# --- before the start


@pytest.fixture
def new(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "labs/main/2026-11/EXP-002-new").create()


def spec_with(staged: Staged) -> Spec:
    return Spec(Target("program", "sim", ("sim", "{staged}")), staged=(staged,))


def test_the_copy_is_a_file_of_its_own_and_bears_repetition(old: Path, new: Folder) -> None:
    staged = seen(old, "outputs/model.pt")
    sources: dict[str, Path | None] = {"model.pt": old / "outputs/model.pt"}
    lay_out(sources, spec_with(staged), new, 1)
    copy = new.staged / "model.pt"
    inode = copy.stat().st_ino
    lay_out(sources, spec_with(staged), new, 1)
    assert copy.stat().st_ino == inode, "what is right is left alone"
    assert (copy.read_bytes(), copy.stat().st_nlink) == (b"weights", 1)
    (old / "outputs/model.pt").write_bytes(b"trained on")
    assert copy.read_bytes() == b"weights"


def test_what_a_crash_left_half_copied_is_copied_again(old: Path, new: Folder) -> None:
    staged = seen(old, "outputs/model.pt")
    new.staged.mkdir()
    (new.staged / "model.pt").write_bytes(b"wei")
    (new.staged / ".0123456789abcdef").write_bytes(b"we")
    lay_out({"model.pt": old / "outputs/model.pt"}, spec_with(staged), new, 1)
    assert (new.staged / "model.pt").read_bytes() == b"weights"


def test_a_later_attempt_finds_the_copy_as_the_one_before_left_it(old: Path, new: Folder) -> None:
    staged = seen(old, "outputs/model.pt")
    lay_out({"model.pt": old / "outputs/model.pt"}, spec_with(staged), new, 1)
    (new.staged / "model.pt").write_bytes(b"trained on")
    lay_out({"model.pt": None}, spec_with(staged), new, 2)
    assert (new.staged / "model.pt").read_bytes() == b"trained on"


def test_an_original_that_changed_or_is_gone_is_not_copied(old: Path, new: Folder) -> None:
    staged = seen(old, "outputs/model.pt")
    source = old / "outputs/model.pt"
    source.write_bytes(b"WEIGHTS")
    with pytest.raises(BadStaging, match="changed after it was staged"):
        lay_out({"model.pt": source}, spec_with(staged), new, 1)
    source.unlink()
    with pytest.raises(BadStaging, match="cannot be read any more: No such file"):
        lay_out({"model.pt": source}, spec_with(staged), new, 1)
    with pytest.raises(BadStaging, match="comes from is gone"):
        lay_out({"model.pt": None}, spec_with(staged), new, 1)
    assert list(new.staged.iterdir()) == [], "nothing half is left"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Any]:
    home = init_home(tmp_path / "lab")
    index = Index.open(home.index)
    yield SimpleNamespace(home=home, index=index, floor=Floor(), clock=StillClock())
    index.close()


def test_an_original_is_found_in_the_trash_and_not_after_a_purge(parts: Any) -> None:
    folder = Folder(parts.home.labs / "main/2026-11/EXP-001").create()
    (folder.outputs / "model.pt").write_bytes(b"weights")
    one = structs.replace(ended(1), folder=str(folder.path))
    spec = spec_with(Staged("model.pt", one.run_id, "outputs/model.pt", "00", 7))
    assert originals(parts, spec) == {"model.pt": None}, "nobody knows it"
    parts.index.apply([one], consumed={})
    assert originals(parts, spec) == {"model.pt": folder.outputs / "model.pt"}
    delete(parts, one, "ada")
    found = originals(parts, spec)["model.pt"]
    assert found is not None
    assert found.read_bytes() == b"weights"
    assert parts.home.trash in found.parents
