from pathlib import Path

import pytest

from labrun.capture.survey import survey
from labrun.wire.responses import Unfrozen
from tests.capture.test_listing import git, write

MIB = 2**20


@pytest.fixture(params=["a repository", "a plain folder"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "a repository":
        git(tmp_path, "init", "-q")
    write(tmp_path, "train.py", "src/model.py")
    write(tmp_path, ".gitignore", text="/data/\n/weights.bin\n/empty/\n__pycache__/\n/cached/\n/venv/\n*.log\n")
    return tmp_path


def test_ignored_entries_are_listed_heaviest_first_with_their_sizes(project: Path) -> None:
    write(project, "data/raw/a.csv", text="x" * 1000)
    write(project, "data/b.csv", text="x" * 500)
    write(project, "weights.bin", text="x" * 4000)
    assert survey(project, 200 * MIB) == (
        Unfrozen("weights.bin", False, 4000, "ignored"),
        Unfrozen("data", True, 1500, "ignored"),
    )


def test_what_is_nobodys_data_is_not_asked_about(project: Path) -> None:
    write(project, ".cache/x", "__pycache__/train.pyc", "venv/pyvenv.cfg", "venv/lib/x.py", "labrun.egg-info/PKG-INFO")
    write(project, "cached/CACHEDIR.TAG", "cached/blob", ".env", "node_modules/x/index.js", "src/__pycache__/m.pyc")
    (project / "empty").mkdir()
    assert survey(project, 200 * MIB) == ()


def test_a_link_to_ignored_data_is_weighed_by_what_it_points_at(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("nas")
    write(elsewhere, "big.csv", text="x" * 700)
    write(project, ".labignore", text="/nas\n")
    (project / "nas").symlink_to(elsewhere)
    assert survey(project, 200 * MIB) == (Unfrozen("nas", True, 700, "ignored"),)


def test_entries_that_make_the_folder_too_big_are_named_and_no_more(project: Path) -> None:
    for name, size in (("images/a.png", 5000), ("images/b.png", 4000), ("audio/c.wav", 3000), ("small.csv", 100)):
        write(project, name, text="x" * size)
    assert survey(project, 4000) == (Unfrozen("images", True, 9000, "too big"),)
    assert [entry.place for entry in survey(project, 1000)] == ["images", "audio"]


def test_a_folder_of_too_many_files_is_named(project: Path) -> None:
    write(project, *(f"frames/{i % 3}/{i}.png" for i in range(60)))
    assert survey(project, 200 * MIB, limit_files=30) == (Unfrozen("frames", True, 120, "too big"),)


def test_counting_a_huge_folder_stops_and_says_so(project: Path) -> None:
    write(project, *(f"data/{i}/x" for i in range(100)))
    (found,) = survey(project, 200 * MIB, counting_s=0.0)
    assert (found.place, found.is_whole) == ("data", False)
    assert survey(project, 200 * MIB) == (Unfrozen("data", True, 200, "ignored"),)
