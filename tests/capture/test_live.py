import os
from pathlib import Path

import pytest

from labrun.capture.live import describe_live
from tests.capture.installed import git, project
from tests.capture.test_listing import without_git


def test_a_file_has_size_and_time_a_folder_time_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("abc")
    os.utime(tmp_path / "file", (0, 86400))
    found = describe_live("argument", tmp_path / "file")
    assert (found.kind, found.path, found.size_bytes) == ("argument", f"{tmp_path}/file", 3)
    assert found.modified is not None
    assert found.modified.isoformat() == "1970-01-02T00:00:00+00:00"
    folder = describe_live("link", tmp_path)
    assert folder.size_bytes is None
    assert folder.modified is not None


@pytest.mark.parametrize("name", ["gone", "no\0name"])
def test_what_is_not_there_is_a_name_alone(tmp_path: Path, name: str) -> None:
    found = describe_live("argument", tmp_path / name, with_repository=True)
    assert (found.size_bytes, found.modified, found.commit, found.is_dirty) == (None, None, None, None)


def test_a_name_that_is_no_utf_8_is_written_readably(tmp_path: Path) -> None:
    assert describe_live("argument", tmp_path / "caf\udce9").path == f"{tmp_path}/caf\\xe9"


def test_a_folder_in_a_repository_has_commit_and_flag(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {"sub/a": "1\n"})
    (tmp_path / "alias").symlink_to(root / "sub")
    found = describe_live("editable", tmp_path / "alias", with_repository=True)
    assert (found.commit, found.is_dirty) == (git(root, "rev-parse", "HEAD").strip(), False)
    (root / "new").touch()
    assert describe_live("editable", tmp_path / "alias", with_repository=True).is_dirty


def test_without_git_the_flag_is_not_known(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = project(tmp_path / "root", {"a": "1\n"})
    with without_git(tmp_path_factory):
        found = describe_live("editable", root, with_repository=True)
    assert found.commit is not None
    assert found.is_dirty is None
