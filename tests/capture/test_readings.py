import os
from collections.abc import Iterable
from pathlib import Path

from labrun.capture.readings import Readings


class Counted:
    """Something to read, which counts how often it is."""

    def __init__(self, *witnesses: Path) -> None:
        self.count = 0
        self._witnesses = witnesses

    def __call__(self) -> tuple[int, Iterable[str]]:
        self.count += 1
        return self.count, map(str, self._witnesses)


def test_what_looks_as_it_did_is_not_read_again(tmp_path: Path) -> None:
    read, readings = Counted(tmp_path), Readings(settled_s=0)
    assert [readings.recall("key", read) for _ in range(3)] == [1, 1, 1]


def test_a_witness_that_changes_comes_or_goes_makes_a_value_old(tmp_path: Path) -> None:
    file = tmp_path / "file"
    read, readings = Counted(file), Readings(settled_s=0)
    assert readings.recall("key", read) == 1
    file.write_text("a")
    assert readings.recall("key", read) == 2
    stamp = file.stat().st_mtime_ns
    file.write_text("b")
    os.utime(file, ns=(stamp, stamp))  # same size, same time: the change time tells
    assert readings.recall("key", read) == 3
    file.unlink()
    assert readings.recall("key", read) == 4
    assert readings.recall("key", read) == 4


def test_another_state_replaces_the_value(tmp_path: Path) -> None:
    read, readings = Counted(), Readings()
    assert [readings.recall("key", read, state) for state in ("a", "a", "b", "a")] == [1, 1, 2, 3]


def test_what_changed_a_moment_ago_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    read, readings = Counted(tmp_path / "file"), Readings(settled_s=3600)
    assert [readings.recall("key", read) for _ in range(2)] == [1, 2]


def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a")
    seen = []

    def read() -> tuple[str, Iterable[str]]:
        seen.append(file.read_text())
        if len(seen) == 1:
            file.write_text("changed")
        return seen[-1], [str(file)]

    readings = Readings(settled_s=0)
    assert [readings.recall("key", read) for _ in range(3)] == ["a", "changed", "changed"]


def test_only_so_many_values_are_kept() -> None:
    read, readings = Counted(), Readings()
    for key in range(600):
        readings.recall(key, read)
    assert readings.recall(599, read) == 600
    assert readings.recall(0, read) == 601
