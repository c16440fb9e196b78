import io
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labrun.core.errors import BadValue, StoreDamaged
from labrun.store import transfer
from labrun.store.code import CodeStore
from tests.helpers import examples
from tests.store.test_code import every_file, write


@pytest.fixture
def here(tmp_path: Path) -> tuple[CodeStore, str]:
    """A store with one tree: folders in folders, a link, a large file, the same file twice."""
    root = tmp_path / "source"
    write(root, "a.py")
    write(root, "deep/er/b.py")
    write(root, "deep/large.bin", os.urandom(3 * 2**20))
    write(root, "empty", b"")
    (root / "link").symlink_to("a.py")
    code = CodeStore(tmp_path / "here.git")
    return code, code.freeze(root, every_file(root)).tree


def stream(code: CodeStore, tree: str) -> bytes:
    files, folders = transfer.objects_of(code, tree)
    return b"".join(transfer.send(code, [*files, *folders], frozenset(folders)))


def test_a_tree_that_was_sent_is_there_with_everything(here: tuple[CodeStore, str], tmp_path: Path) -> None:
    code, tree = here
    there = CodeStore(tmp_path / "there.git")
    files, folders = transfer.objects_of(code, tree)
    assert transfer.missing(there, [*files, *folders]) == [*files, *folders]
    assert transfer.take(there, io.BytesIO(stream(code, tree))) == len(files) + len(folders)
    assert transfer.missing(there, [*files, *folders]) == []
    assert there.entries(tree) == code.entries(tree)
    assert transfer.take(there, io.BytesIO(stream(code, tree))) == 0
    checked = subprocess.run(["git", f"--git-dir={tmp_path}/there.git", "fsck", "--full"], capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_every_object_comes_before_the_trees_that_name_it(here: tuple[CodeStore, str]) -> None:
    code, tree = here
    files, folders = transfer.objects_of(code, tree)
    assert folders[-1] == tree
    seen = set(files)
    for folder in folders:
        listing = subprocess.run(
            ["git", f"--git-dir={code.objects.path}", "ls-tree", folder], capture_output=True, text=True, check=True
        )
        assert {line.split()[2] for line in listing.stdout.splitlines()} <= seen
        seen.add(folder)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, 3 * 2**20 + 1000), bit=st.integers(0, 7), is_cut=st.booleans())
def test_a_stream_that_is_cut_or_altered_stores_nothing_that_is_wrong(
    here: tuple[CodeStore, str], tmp_path: Path, where: int, bit: int, is_cut: bool
) -> None:
    code, tree = here
    whole = bytearray(stream(code, tree))
    where %= len(whole)
    if is_cut:
        del whole[where:]
    else:
        whole[where] ^= 1 << bit
    there = CodeStore(tmp_path / f"there-{where}-{bit}-{is_cut}.git")
    try:
        transfer.take(there, io.BytesIO(bytes(whole)))
    except BadValue:
        with pytest.raises(StoreDamaged):
            there.entries(tree)
        return
    for name in [each for part in transfer.objects_of(code, tree) for each in part]:
        if not transfer.missing(there, [name]):
            continue
        with pytest.raises(StoreDamaged):
            there.entries(tree)
        return


@pytest.mark.parametrize(
    "line", [b"3 abc 1\nx", b"9 " + b"a" * 40 + b" 1\nx", b"x" * 200, b"3 " + b"a" * 40 + b" -1\n"]
)
def test_nonsense_is_refused(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(BadValue):
        transfer.take(CodeStore(tmp_path / "there.git"), io.BytesIO(line))


@pytest.mark.parametrize("name", ["", "abc", "Z" * 40, "A" * 40, "a" * 39])
def test_a_question_for_what_is_no_hash_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadValue, match="40 hexadecimal digits"):
        transfer.missing(CodeStore(tmp_path / "there.git"), [name])


def test_what_is_asked_for_comes_in_pieces_until_all_is_there(here: tuple[CodeStore, str], tmp_path: Path) -> None:
    code, tree = here
    there = CodeStore(tmp_path / "there.git")
    wanted, rounds = [name for part in transfer.objects_of(code, tree) for name in part], 0
    while missing := transfer.missing(there, wanted):
        transfer.take(there, io.BytesIO(b"".join(transfer.give(code, missing, 1000))))
        rounds += 1
    assert there.entries(tree) == code.entries(tree)
    assert 1 < rounds < len(wanted), "small ones together, a large one alone"


def test_what_is_not_there_cannot_be_given(here: tuple[CodeStore, str]) -> None:
    with pytest.raises(StoreDamaged):
        list(transfer.give(here[0], ["a" * 40], 1000))
    with pytest.raises(BadValue):
        list(transfer.give(here[0], ["nonsense"], 1000))
