"""Hashes anybody can check with sha256sum."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labrun.capture.inputs import DataHashes
from labrun.core.errors import CodeUnreadable
from tests.helpers import examples


def by_hand(folder: Path) -> str:
    """The same with the tools of every Linux."""
    script = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum -z | sha256sum"
    done = subprocess.run(["/bin/sh", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def test_a_file_is_hashed_as_sha256sum_does(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"x" * 3_000_000)
    found = DataHashes().hash("sky", file)
    said = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout
    assert (found.sha256, found.size_bytes, found.file_count) == (said.split()[0], 3_000_000, 1)


@settings(max_examples=examples(20), deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-zA-Z0-9_é\\ '\n-]{1,6}(/[a-z]{1,3}){0,2}", fullmatch=True), st.binary(max_size=9)
    )
)
def test_a_folder_is_hashed_by_its_sorted_files(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("data")
    for name, content in files.items():
        path = folder / name
        if any(parent.is_file() for parent in path.parents) or path.is_dir():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert DataHashes().hash("sky", folder).sha256 == by_hand(folder)


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("1")
    os.utime(file, (time.time() - 100,) * 2)
    hashes = DataHashes()
    first = hashes.hash("sky", file)
    assert hashes.hash("sky", file) == first
    file.write_text("2")
    os.utime(file, (time.time() - 100,) * 2)
    assert hashes.hash("sky", file).sha256 != first.sha256


def test_names_moves_and_contents_change_the_hash_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    hashes = DataHashes()
    seen = {hashes.hash("d", tmp_path).sha256}
    (tmp_path / "a").rename(tmp_path / "b")
    seen.add(hashes.hash("d", tmp_path).sha256)
    (tmp_path / "c").symlink_to("b")
    seen.add(hashes.hash("d", tmp_path).sha256)
    assert len(seen) == 3


def test_a_link_that_leads_in_a_circle_is_hashed_as_a_link(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(".")
    assert DataHashes().hash("d", tmp_path).file_count == 1


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    hashes = DataHashes()
    with pytest.raises(CodeUnreadable):
        hashes.hash("d", tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        with pytest.raises(CodeUnreadable, match="neither file nor folder"):
            hashes.hash("d", tmp_path / "s")
