"""Many packs become few, and nobody who reads notices."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labrun.core.errors import StoreDamaged
from labrun.store.code import CodeStore
from labrun.store.merging import merge
from labrun.store.objects import Objects
from tests.scenarios.laboratory import broken_build


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store/code.git"


def fill(store: CodeStore, count: int, first: int = 0) -> list[str]:
    """Store so many trees, each with a pack of its own."""
    return [store.store_files({"a.py": b"print(%d)\n" % k, "sub/b": b"same\n"}) for k in range(first, first + count)]


def packs(path: Path) -> list[str]:
    return sorted(each.name for each in (path / "objects/pack").iterdir())


def is_sound(path: Path, trees: list[str]) -> bool:
    """Whether a store that was just opened has every file, and git agrees."""
    store = CodeStore(path)
    found = [store.blob(store.entries(tree)["a.py"].blob) for tree in trees]
    subprocess.run(["git", f"--git-dir={path}", "fsck", "--full", "--strict"], check=True, capture_output=True)
    return found == [b"print(%d)\n" % k for k in range(len(trees))]


def test_many_small_packs_become_one_and_everything_is_there(path: Path) -> None:
    store = CodeStore(path)
    trees = fill(store, 40)
    assert len(packs(path)) == 80
    assert store.merge() == 39
    assert len(packs(path)) == 2
    assert is_sound(path, trees)
    assert [store.blob(store.entries(tree)["a.py"].blob) for tree in trees][:2] == [b"print(0)\n", b"print(1)\n"]


def test_a_few_packs_stay_as_they_are(path: Path) -> None:
    store = CodeStore(path)
    fill(store, 31)
    before = packs(path)
    assert store.merge() == 0
    assert packs(path) == before


def test_the_number_of_packs_stays_bounded_and_each_byte_is_copied_a_few_times(path: Path) -> None:
    store = CodeStore(path)
    trees, most = list[str](), 0
    for k in range(0, 1200, 40):
        trees += fill(store, 40, k)
        store.merge()
        most = max(most, len(packs(path)) // 2)
    assert most <= 3 * 32
    assert is_sound(path, trees)


def test_after_a_merge_nothing_is_stored_twice(path: Path) -> None:
    store = CodeStore(path)
    trees = fill(store, 40)
    store.merge()
    before = packs(path)
    assert fill(store, 40) == trees
    assert fill(CodeStore(path), 40) == trees
    assert packs(path) == before


def test_who_reads_while_packs_are_merged_finds_everything(path: Path, tmp_path: Path) -> None:
    """Two readers: one in this process, one that knows only what it listed before."""
    store, stranger = CodeStore(path), CodeStore(path)
    trees = fill(store, 64)
    for tree in trees:
        stranger.entries(tree)
    is_over, failed = threading.Event(), list[BaseException]()

    def read(whose: CodeStore, name: str) -> None:
        at = 0
        while not is_over.is_set():
            try:
                whose.checkout(trees[at % 64], tmp_path / name / str(at % 64))
            except BaseException as error:  # noqa: BLE001  told below
                failed.append(error)
                return
            at += 1

    threads = [threading.Thread(target=read, args=(whose, f"copy{n}")) for n, whose in enumerate((store, stranger))]
    for thread in threads:
        thread.start()
    for k in range(64, 320, 32):
        fill(store, 32, k)
        store.merge()
    is_over.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(packs(path)) < 2 * 64


def test_a_pack_with_a_damaged_object_is_left_alone_and_the_others_are_merged(path: Path) -> None:
    store = CodeStore(path)
    trees = fill(store, 40)
    hurt = sorted((path / "objects/pack").glob("*.pack"))[7]
    content = bytearray(hurt.read_bytes())
    content[14] ^= 0xFF
    hurt.chmod(0o644)
    hurt.write_bytes(content)
    store.merge()
    assert hurt.exists()
    assert len(packs(path)) == 4
    assert store.merge() == 0
    fresh = CodeStore(path)
    lost = 0
    for tree in trees:
        try:
            fresh.blob(fresh.entries(tree)["a.py"].blob)
        except StoreDamaged:
            lost += 1
    assert lost == 1, "what was whole stays whole"


def test_a_pack_that_is_gone_is_damage(path: Path) -> None:
    store = CodeStore(path)
    (tree,) = fill(store, 1)
    for pack in (path / "objects/pack").glob("*.pack"):
        pack.unlink()
    with pytest.raises(StoreDamaged):
        store.entries(tree)


KILLED = """
import os, signal, sys
from pathlib import Path
from labrun.store.code import CodeStore

calls, limit = 0, int(sys.argv[2])
def count(event, arguments):
    global calls
    if event in ("open", "os.rename", "os.remove", "os.chmod") and "objects/pack" in str(arguments[0]):
        calls += 1
        if calls > limit:
            os.kill(os.getpid(), signal.SIGKILL)
store = CodeStore(Path(sys.argv[1]))
sys.addaudithook(count)
store.merge()
print(calls)
"""


def killed(path: Path, moment: int, build: Path | None = None) -> int:
    """Merge and be killed at the so-many-th opening, renaming or removing of a file in the folder of packs."""
    variables = {"PYTHONPATH": str(build)} if build is not None else {}
    command = [sys.executable, "-c", KILLED, str(path), str(moment)]
    return subprocess.run(command, env=os.environ | variables, check=False, capture_output=True).returncode


def what_is_there(path: Path, trees: list[str]) -> list[bytes]:
    store = CodeStore(path)
    return [store.blob(store.entries(tree)["a.py"].blob) for tree in trees]


def test_a_kill_at_any_moment_of_a_merge_loses_nothing(path: Path) -> None:
    trees = fill(CodeStore(path), 40)
    moments = [*range(0, 100, 7), *range(78, 100), *range(100, 170, 9)]
    ends = set[int]()
    for moment in moments:
        ends.add(killed(path, moment))
        assert what_is_there(path, trees) == [b"print(%d)\n" % k for k in range(40)]
        if len(packs(path)) < 64:  # it came far enough to have merged: there must be something to merge again
            fill(CodeStore(path), 40, 40 + 100 * moment)
    assert ends == {0, -9}
    assert is_sound(path, trees)
    CodeStore(path).merge()
    assert not [name for name in packs(path) if name.startswith("tmp_")]


def test_a_merge_that_removes_before_it_has_written_is_caught(path: Path, tmp_path: Path) -> None:
    """The negative control of the kills above."""
    removes = '[Path(f"{each}{end}").unlink() for each in copied for end in (".idx", ".pack")]'
    change = ("store/merging.py", r"( +)new = writer\.finish\(\)", rf"\1{removes}\n\1new = writer.finish()")
    build = broken_build(tmp_path, change)
    trees = fill(CodeStore(path), 40)
    assert killed(path, 150, build) == -9
    with pytest.raises(StoreDamaged):
        what_is_there(path, trees)


def test_a_full_disk_leaves_the_packs_as_they_were(path: Path) -> None:
    store = CodeStore(path)
    trees = fill(store, 40)
    before = packs(path)
    program = (
        "import resource, sys; from pathlib import Path; from labrun.store.code import CodeStore; import signal;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500)); CodeStore(Path(sys.argv[1])).merge()"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, capture_output=True, text=True)
    assert "OSError" in done.stderr
    assert packs(path) == before
    assert is_sound(path, trees)


def test_an_unchanged_folder_of_packs_is_not_listed_again(path: Path) -> None:
    """With thousands of packs each listing takes milliseconds, and a submit asks for four new objects."""
    objects = Objects(path)
    objects.prepare()
    assert b"\0" * 20 not in objects
    listed = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal listed
        listed += event in ("os.scandir", "os.listdir") and str(path) in str(arguments[0])

    sys.addaudithook(count)
    for k in range(100):
        assert bytes([k]) * 20 not in objects
    assert listed == 0
    fill(CodeStore(path), 1)
    os.utime(path / "objects/pack")
    assert b"\1" * 20 not in objects
    assert listed > 0
    assert merge(objects) == 0
