import hashlib
import json
import os
from pathlib import Path

import pytest

from labrun.capture.locks import LOCK_LIMIT_BYTES, read_locks
from labrun.capture.readings import Readings

LOCKS = (
    *("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml", "pixi.lock", "conda-lock.yml"),
    *("environment.yml", "requirements.txt", "requirements-dev.txt", "constraints.txt", "flake.lock"),
)


def places(root: Path, cwd: Path, top: Path | None = None) -> dict[str, str]:
    found = read_locks(root, cwd, top, None, Readings())
    assert {lock.place for lock in found.locks} == {f"submitted/{place}" for place in found.files}
    return {lock.path: lock.place for lock in found.locks}


@pytest.mark.parametrize("name", LOCKS)
def test_every_kind_of_lock_file_is_copied(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"pins \xff\r\n")
    found = read_locks(tmp_path, tmp_path, None, None, Readings())
    assert found.files == {f"locks/{name}": b"pins \xff\r\n"}
    assert found.locks[0].sha256 == hashlib.sha256(b"pins \xff\r\n").hexdigest()


def test_other_files_are_not(tmp_path: Path) -> None:
    for name in ("requirements.in", "lock", "uv.lock.bak", "pyproject.toml"):
        (tmp_path / name).write_text("x")
    (tmp_path / "poetry.lock").mkdir()
    os.mkfifo(tmp_path / "pdm.lock")
    assert places(tmp_path, tmp_path) == {}


def test_they_are_looked_for_from_the_callers_folder_up_to_the_top_of_the_repository(tmp_path: Path) -> None:
    root, cwd = tmp_path / "packages/mine", tmp_path / "packages/mine/a/b"
    cwd.mkdir(parents=True)
    for folder in (tmp_path.parent, tmp_path, tmp_path / "packages", root, root / "a", cwd, root / "other"):
        folder.mkdir(exist_ok=True)
        (folder / "requirements.txt").write_text(str(folder))
    assert places(root, cwd, tmp_path) == {
        "a/b/requirements.txt": "submitted/locks/a/b/requirements.txt",
        "a/requirements.txt": "submitted/locks/a/requirements.txt",
        "requirements.txt": "submitted/locks/requirements.txt",
        str(tmp_path / "packages/requirements.txt"): "submitted/locks/above-1/requirements.txt",
        str(tmp_path / "requirements.txt"): "submitted/locks/above-2/requirements.txt",
    }


def test_without_a_source_root_nothing_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("x")
    assert read_locks(None, tmp_path, None, None, Readings()).locks == ()


def test_credentials_in_an_index_are_left_out_of_the_copy_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-i https://ada:hunter2@example.org/simple\nnumpy==1.0\n")
    found = read_locks(tmp_path, tmp_path, None, None, Readings())
    assert found.files == {"locks/requirements.txt": b"-i https://example.org/simple\nnumpy==1.0\n"}
    assert found.locks[0].sha256 == hashlib.sha256(found.files["locks/requirements.txt"]).hexdigest()
    (notice,) = found.notices
    assert notice == f"a URL in {tmp_path}/requirements.txt holds credentials: its copy in the record is without them"


def test_a_huge_one_is_named_and_not_copied(tmp_path: Path) -> None:
    with (tmp_path / "uv.lock").open("wb") as file:
        file.truncate(LOCK_LIMIT_BYTES + 1)
    found = read_locks(tmp_path, tmp_path, None, None, Readings())
    assert found.files == {}
    assert found.notices == (f"not copied, larger than 16.0 MiB: {tmp_path}/uv.lock",)


def test_a_broken_link_is_named_and_not_copied(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").symlink_to("nowhere")
    assert read_locks(tmp_path, tmp_path, None, None, Readings()).notices == (
        f"not copied, No such file or directory: {tmp_path}/uv.lock",
    )


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    readings = Readings(settled_s=0)
    for text in ("one", "two"):
        (tmp_path / "uv.lock").write_text(text)
        assert read_locks(tmp_path, tmp_path, None, None, readings).files == {"locks/uv.lock": text.encode()}


def test_a_conda_environment_is_listed_with_addresses_and_checksums(tmp_path: Path) -> None:
    meta = tmp_path / "env/conda-meta"
    meta.mkdir(parents=True)
    (meta / "history").write_text("==> 2026 <==\n")
    base = "https://conda.example.org"
    (meta / "python-3.12.json").write_text(json.dumps({"url": f"{base}/main/linux-64/python-3.12.conda", "md5": "abc"}))
    (meta / "mine-1.json").write_text(json.dumps({"url": f"{base}/t/se-cret/mine/mine-1.conda"}))
    (meta / "local-1.json").write_text(json.dumps({"name": "local"}))
    (meta / "torn-1.json").write_text("{")
    found = read_locks(None, tmp_path, None, tmp_path / "env", Readings())
    assert found.files["locks/conda-explicit.txt"].decode().splitlines() == [
        "@EXPLICIT",
        "# without an address: local-1",
        f"{base}/t/***/mine/mine-1.conda",
        f"{base}/main/linux-64/python-3.12.conda#abc",
        "# not readable: torn-1.json",
    ]
    assert found.locks[0].path == str(meta)
