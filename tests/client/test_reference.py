from pathlib import Path

import pytest

from labrun.client.reference import label_in_path


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    folder = tmp_path / "home/labs/main/2026-11/EXP-054-planck-bao"
    (folder / "attempts/1").mkdir(parents=True)
    return tmp_path / "home/labs"


@pytest.mark.parametrize("text", [".", "..", "attempts/1", "./", "attempts/../README.md"])
def test_a_path_inside_an_experiment_means_the_experiment(labs: Path, text: str) -> None:
    cwd = labs / "main/2026-11/EXP-054-planck-bao" / ("attempts" if text == ".." else "")
    assert label_in_path(text, cwd, labs) == "EXP-054"


def test_an_absolute_path_and_one_through_a_link_are_followed(labs: Path, tmp_path: Path) -> None:
    folder = labs / "main/2026-11/EXP-054-planck-bao"
    (tmp_path / "link").symlink_to(folder)
    assert label_in_path(str(folder / "work/x.py"), tmp_path, labs) == "EXP-054"
    assert label_in_path("link/work", tmp_path, labs) == "EXP-054"


@pytest.mark.parametrize("text", ["EXP-054", "planck", "latest~2", "a/b", "/etc/passwd"])
def test_other_references_are_left_to_the_server(labs: Path, tmp_path: Path, text: str) -> None:
    assert label_in_path(text, tmp_path, labs) is None


def test_a_folder_above_the_experiments_is_none(labs: Path) -> None:
    assert label_in_path("./2026-11", labs / "main", labs) is None
