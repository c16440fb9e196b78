from pathlib import Path

import pytest

from labrun.capture.placement import Placement, find_root, never_roots, place
from labrun.capture.target import Target

FORBIDDEN = {Path("/"), Path("/tmp"), Path("/home/ada")}


def script(word: str, cwd: Path) -> Target:
    return Target("script", word, word, (), cwd / word, Path("/usr/bin/python3"))


def program(word: str, cwd: Path) -> Target:
    return Target("program", word, word, (), cwd / word if "/" in word else None, None)


MODULE = Target("module", "a.b", "a.b", (), None, Path("/usr/bin/python3"))


@pytest.mark.parametrize(
    ("start", "marks", "root"),
    [
        ("/home/ada/proj/src/deep", ["/home/ada/proj/.git"], "/home/ada/proj"),
        ("/home/ada/proj/src", ["/home/ada/proj/src/lab.toml", "/home/ada/proj/.git"], "/home/ada/proj/src"),
        ("/home/ada/proj", ["/home/ada/.git"], None),
        ("/tmp", ["/tmp/pyproject.toml"], None),
        ("/srv/x", ["/.git"], None),
        ("/srv/x", [], None),
    ],
)
def test_the_root_is_the_nearest_marked_ancestor_that_is_not_too_wide(
    start: str, marks: list[str], root: str | None
) -> None:
    found = find_root(Path(start), FORBIDDEN, lambda path: str(path) in marks)
    assert found == (Path(root) if root is not None else None)


def test_home_lab_and_scratch_are_never_roots(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    forbidden = never_roots(tmp_path / "link", tmp_path / "lab")
    assert {tmp_path / "link", tmp_path / "real", tmp_path / "lab", Path("/"), Path("/tmp")} <= forbidden


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "proj"
    (root / "src").mkdir(parents=True)
    (root / ".git").mkdir()
    return root


def test_a_caller_inside_the_root_gets_the_same_place_in_the_copy(project: Path) -> None:
    here = project / "src"
    assert place(script("train.py", here), here, FORBIDDEN) == Placement(project, (), "src", False, "train.py", ())
    assert place(script("../train.py", here), here, FORBIDDEN).word == "../train.py"


def test_an_absolute_path_inside_the_root_runs_the_copy(project: Path) -> None:
    here = project / "src"
    assert place(script(str(project / "fit/train.py"), here), here, FORBIDDEN).word == "../fit/train.py"


def test_a_caller_outside_the_root_keeps_his_directory_and_is_told(project: Path, tmp_path: Path) -> None:
    placement = place(script("proj/src/train.py", tmp_path), tmp_path, FORBIDDEN)
    assert placement[:5] == (project, (), str(tmp_path), True, str(project / "src/train.py"))
    assert "working directory" in placement.notices[0]


def test_without_marks_the_scripts_folder_is_the_root(tmp_path: Path) -> None:
    here = tmp_path.resolve()
    assert place(script("train.py", here), here, FORBIDDEN)[:4] == (here, (), ".", False)


def test_a_script_in_too_wide_a_folder_is_frozen_alone_and_it_is_said(tmp_path: Path) -> None:
    here = tmp_path.resolve()
    placement = place(script("train.py", here), here, {here})
    assert placement[:5] == (here, ("train.py",), ".", False, "train.py")
    assert "only train.py is frozen" in placement.notices[0]


def test_a_script_behind_a_linked_folder_belongs_to_the_real_project(project: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project)
    placement = place(script(str(tmp_path / "link/src/train.py"), project), project, FORBIDDEN)
    assert (placement.root, placement.word) == (project, "src/train.py")


def test_a_module_belongs_to_the_project_of_the_directory_or_to_the_directory(project: Path, tmp_path: Path) -> None:
    assert place(MODULE, project / "src", FORBIDDEN)[:4] == (project, (), "src", False)
    plain = tmp_path.resolve()
    assert place(MODULE, plain, FORBIDDEN)[:4] == (plain, (), ".", False)
    assert place(MODULE, plain, {plain})[:4] == (None, (), str(plain), True)


def test_a_bare_program_outside_a_project_freezes_nothing_and_says_so(tmp_path: Path) -> None:
    here = tmp_path.resolve()
    placement = place(program("sleep", here), here, FORBIDDEN)
    assert placement[:5] == (None, (), str(here), True, "sleep")
    assert placement.notices[0].startswith("nothing is frozen: no project here")


def test_a_program_of_the_project_runs_from_the_copy(project: Path) -> None:
    here = project / "src"
    assert place(program("./sim", here), here, FORBIDDEN)[:5] == (project, (), "src", False, "./sim")
    assert place(program(str(here / "sim"), here), here, FORBIDDEN).word == "./sim"
    assert place(program("sh", here), here, FORBIDDEN).word == "sh"


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta"])
def test_a_program_of_an_environment_in_the_project_runs_where_it_is(project: Path, mark: str) -> None:
    """Environments are not copied: in the copy there is no `.venv/bin/python`."""
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv" / mark).touch()
    for word in (".venv/bin/python", str(project / ".venv/bin/python")):
        found = place(program(word, project), project, FORBIDDEN)
        assert found[:5] == (project, (), ".", False, str(project / ".venv/bin/python"))


def test_a_program_outside_the_project_is_named_as_not_frozen(project: Path, tmp_path: Path) -> None:
    placement = place(program("../../tool", project / "src"), project / "src", FORBIDDEN)
    assert placement.word == str(tmp_path.resolve() / "tool")
    assert placement.notices[0].startswith("not frozen: ")


def test_a_program_in_a_plain_folder_takes_that_folder_along(tmp_path: Path) -> None:
    here = tmp_path.resolve()
    assert place(program("./sim", here), here, FORBIDDEN)[:5] == (here, (), ".", False, "./sim")
