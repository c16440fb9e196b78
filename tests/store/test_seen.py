import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from labrun.store.code import CodeStore
from labrun.store.seen import SeenFiles, SeenRoot, look_of

BLOB = bytes(range(20))
LOOK = bytes(40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store/seen"


def known(folder: Path | None, root: str = "/p", boot_id: str = "a") -> SeenRoot:
    return SeenFiles(folder, boot_id).of(root)


def remember(seen: SeenRoot, *names: str) -> None:
    for name in names:
        seen.remember(name, LOOK, BLOB)
    seen.items = [(name, 0, BLOB) for name in {*names, *(item[0] for item in seen.items)}]
    seen.save()


def test_what_was_read_is_known_after_a_restart(folder: Path) -> None:
    remember(known(folder), "a.py", "new\nline", "caf\udce9.txt", "x" * 4000)
    again = known(folder)
    assert [again.hash_of(name, LOOK) for name in ("a.py", "new\nline", "caf\udce9.txt", "x" * 4000)] == [BLOB] * 4
    assert again.hash_of("a.py", bytes(39) + b"1") is None
    assert again.hash_of("b.py", LOOK) is None
    assert known(folder, "/other").hash_of("a.py", LOOK) is None
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_later_news_are_appended_and_win(folder: Path) -> None:
    seen = known(folder)
    remember(seen, *(f"f{i}" for i in range(100)))
    size = next(folder.iterdir()).stat().st_size
    seen.remember("f3", LOOK, BLOB[::-1])
    seen.save()
    assert next(folder.iterdir()).stat().st_size < size + 200
    assert known(folder).hash_of("f3", LOOK) == BLOB[::-1]


def test_nothing_is_written_when_nothing_is_new(folder: Path) -> None:
    seen = known(folder)
    remember(seen, "a")
    before = next(folder.iterdir()).stat()
    seen.save()
    again = known(folder)
    again.items = [("a", 0, BLOB)]
    again.save()
    assert next(folder.iterdir()).stat() == before


def test_a_file_of_another_boot_is_removed(folder: Path) -> None:
    remember(known(folder), "a")
    assert known(folder, boot_id="b").hash_of("a", LOOK) is None
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("cut", range(0, 160, 7))
def test_a_file_cut_anywhere_gives_what_is_whole_and_takes_news(folder: Path, cut: int) -> None:
    seen = known(folder)
    remember(seen, "a")
    remember(seen, "b")
    path = next(folder.iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] if cut % 2 else whole[:cut] + bytes(max(0, len(whole) - cut)))
    again = known(folder)
    assert all(again.hash_of(name, LOOK) in (None, BLOB) for name in ("a", "b"))
    remember(again, "c")
    assert known(folder).hash_of("c", LOOK) == BLOB


def test_any_flipped_bit_gives_the_truth_or_nothing(folder: Path) -> None:
    remember(known(folder), "a", "b")
    path = next(folder.iterdir())
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        seen = SeenRoot("/p", path, "a")
        assert all(seen.hash_of(name, LOOK) in (None, BLOB) for name in ("a", "b"))


def test_somebody_elses_write_is_never_appended_to(folder: Path) -> None:
    seen = known(folder)
    remember(seen, "a")
    path = next(folder.iterdir())
    path.write_bytes(path.read_bytes() + b"rubbish")
    remember(seen, "b")
    remember(seen, "c")
    assert known(folder).hash_of("c", LOOK) == BLOB


def test_a_file_does_not_grow_for_ever(folder: Path) -> None:
    seen = known(folder)
    remember(seen, "a")
    for i in range(3000):
        seen.remember("a", LOOK, i.to_bytes(20, "big"))
        seen.save()
    assert next(folder.iterdir()).stat().st_size < 70_000
    assert known(folder).hash_of("a", LOOK) == (2999).to_bytes(20, "big")


def test_files_that_are_gone_are_forgotten(folder: Path) -> None:
    seen = known(folder)
    for i in range(3000):
        seen.remember(f"f{i}", LOOK, BLOB)
    seen.items = [("f7", 0, BLOB)]
    seen.save()
    assert len(seen) == 1
    assert next(folder.iterdir()).stat().st_size < 300
    assert known(folder).hash_of("f7", LOOK) == BLOB


def test_a_disk_that_takes_nothing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remember(known(tmp_path / "file/seen"), "a")
    remember(known(None), "a")


def test_the_roots_used_longest_ago_leave_memory_first(folder: Path) -> None:
    files = SeenFiles(folder, "a")
    for root in "xyz":
        seen = files.of(root)
        remember(seen, *(f"{i}" for i in range(20_000)))
        files.trim()
    x, z = files.of("x"), files.of("z")
    assert x.items == []
    assert z.items != []
    assert x.hash_of("7", LOOK) == BLOB, "read again from its file"


def test_a_restarted_store_reads_only_what_changed(tmp_path: Path, folder: Path) -> None:
    """Told by files that cannot be read any more: whoever opens one fails."""
    root = tmp_path / "source"
    root.mkdir()
    for i in range(20):
        (root / f"{i}.py").write_text(f"x = {i}\n")
        os.utime(root / f"{i}.py", (1_700_000_000, 1_700_000_000))
    listing = SimpleNamespace(files=tuple(f"{i}.py" for i in range(20)))
    settled_ns = max((root / f"{i}.py").stat().st_ctime_ns for i in range(20)) + 2 * 10**9
    while time.time_ns() < settled_ns:
        time.sleep(0.05)  # a file touched less than two seconds ago is never trusted

    def store() -> CodeStore:
        return CodeStore(tmp_path / "store/code.git", SeenFiles(folder, "a"))

    tree = store().freeze(root, listing).tree
    looks = {name: look_of((root / name).stat()) for name in listing.files}
    again = known(folder, str(root))
    assert all(again.hash_of(name, look) is not None for name, look in looks.items())
    assert store().freeze(root, listing).tree == tree
    (root / "3.py").write_text("x = 4\n")
    assert store().freeze(root, listing).tree != tree


def test_a_blob_the_store_lost_is_read_again(tmp_path: Path, folder: Path) -> None:
    root = tmp_path / "source"
    root.mkdir()
    (root / "a.py").write_text("x\n")
    look = look_of((root / "a.py").stat())
    seen = SeenFiles(folder, "a")
    seen.of(str(root)).remember("a.py", look, BLOB)
    store = CodeStore(tmp_path / "store/code.git", seen)
    tree = store.freeze(root, SimpleNamespace(files=("a.py",))).tree
    assert store.entries(tree)["a.py"].blob != BLOB.hex()
