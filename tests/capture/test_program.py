from pathlib import Path

import pytest

from labrun.capture.program import Uses, python_of_program


def program(path: Path, text: str = "\x7fELF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A machine with one Python on PATH, another in an environment, and every program that chooses."""
    program(tmp_path / "bin/python3")
    program(tmp_path / "env/bin/python")
    for name in ("uv", "uvx", "poetry", "pixi", "nix", "docker", "make", "srun"):
        program(tmp_path / "bin" / name)
    program(tmp_path / "conda/bin/conda", f"#!{tmp_path}/conda/bin/python\n")
    for prefix in ("conda", "conda/envs/deep", "elsewhere/wide"):
        program(tmp_path / prefix / "bin/python")
    return tmp_path


def uses(here: Path, *argv: str, **variables: str) -> Uses:
    path = f"{here}/bin:{here}/conda/bin"
    return python_of_program(argv, {"PATH": path, "HOME": str(here), **variables}, here)


def test_an_interpreter_is_the_one_that_was_named(here: Path) -> None:
    assert uses(here, "python3", "x.py") == Uses(here / "bin/python3")
    assert uses(here, "env/bin/python", "x.py") == Uses(here / "env/bin/python")
    assert uses(here, f"{here}/env/bin/python", "-m", "x") == Uses(here / "env/bin/python")


@pytest.mark.parametrize(
    "line",
    ["#!{0}/env/bin/python", "#!{0}/env/bin/python -E", "#! {0}/env/bin/python\r", "#!/usr/bin/env {0}/env/bin/python"],
)
def test_a_first_line_names_it(here: Path, line: str) -> None:
    program(here / "bin/torchrun", line.format(here) + "\nimport torch\n")
    assert uses(here, "torchrun", "x.py").python == here / "env/bin/python"


def test_a_first_line_may_leave_it_to_path(here: Path) -> None:
    program(here / "fit", "#!/usr/bin/env -S A=1 python3 -u\n")
    assert uses(here, "./fit") == Uses(here / "bin/python3")


def test_installers_write_a_second_line_where_the_first_would_be_too_long(here: Path) -> None:
    program(here / "bin/tool", f"#!/bin/sh\n'''exec' \"{here}/env/bin/python\" \"$0\" \"$@\"\n' '''\n")
    assert uses(here, "tool") == Uses(here / "env/bin/python")


@pytest.mark.parametrize(
    ("words", "chooser"),
    [
        (["uv", "run", "x.py"], "uv run"),
        (["uv", "--project", "sub", "run", "x.py"], "uv run"),
        (["uvx", "ruff"], "uvx"),
        (["poetry", "run", "python", "x.py"], "poetry run"),
        (["pixi", "run", "fit"], "pixi run"),
        (["nix", "develop", "-c", "python3"], "nix develop"),
        (["docker", "run", "image"], "docker run"),
        (["conda", "run", "-n", "nowhere", "python", "x.py"], "conda run"),
    ],
)
def test_what_chooses_an_environment_as_it_starts_is_named(here: Path, words: list[str], chooser: str) -> None:
    assert uses(here, *words) == Uses(chooser=chooser)


@pytest.mark.parametrize(
    ("tool", "mark"), [("poetry", "pyproject.toml"), ("pdm", "pyproject.toml"), ("pipenv", "Pipfile")]
)
def test_an_environment_of_a_folder_is_the_active_one_or_lies_in_it(here: Path, tool: str, mark: str) -> None:
    program(here / "bin" / tool)
    (here / mark).touch()
    words = (tool, "run", "python", "x.py")
    alone = uses(here, *words)
    assert alone == Uses(chooser=f"{tool} run")
    assert f"`{tool} run lab …` takes yours along" in str(alone.notice)
    own = program(here / ".venv/bin/python")
    assert uses(here, *words) == Uses(own, environment=here / ".venv")
    assert uses(here, *words, VIRTUAL_ENV=str(here / "env")) == Uses(here / "env/bin/python")
    assert uses(here, tool, "-C", "sub", "run", "python", "x.py") == Uses(chooser=f"{tool} run")
    (here / "sub").mkdir()
    path = {"PATH": f"{here}/bin"}
    assert python_of_program(words, path, here / "sub") == Uses(own, environment=here / ".venv"), "the folder is above"


def test_a_script_that_uv_runs_chooses_too(here: Path) -> None:
    program(here / "fit", "#!/usr/bin/env -S uv run --script\n")
    assert uses(here, "./fit") == Uses(chooser="uv run")


@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        (["-n", "deep"], "conda/envs/deep"),
        (["-ndeep"], "conda/envs/deep"),
        (["--no-capture-output", "--name=deep"], "conda/envs/deep"),
        (["-n", "base"], "conda"),
        (["-n", "wide"], "elsewhere/wide"),
        (["-p", "env"], "env"),
        (["--prefix", "{0}/env"], "env"),
    ],
)
def test_conda_names_its_environment(here: Path, options: list[str], prefix: str) -> None:
    words = [each.format(here) for each in options]
    found = uses(here, "conda", "run", *words, "python", "-n", "1", CONDA_ENVS_PATH=str(here / "elsewhere"))
    assert found == Uses(here / prefix / "bin/python")


def test_conda_without_a_name_keeps_the_active_one(here: Path) -> None:
    assert (
        uses(here, "conda", "run", "x", "-n", "deep", CONDA_PREFIX=str(here / "env")).python == here / "env/bin/python"
    )


@pytest.mark.parametrize(
    "words", [["make"], ["srun", "python3", "x.py"], ["uv", "sync"], ["docker", "ps"], ["nothing"]]
)
def test_of_others_nothing_is_known(here: Path, words: list[str]) -> None:
    assert uses(here, *words) == Uses()


@pytest.mark.parametrize("text", ["", "#!", "#! ", "#!/usr/bin/env", "#!'", "#!/gone/python3", "\udce9"])
def test_a_first_line_without_sense_says_nothing(here: Path, text: str) -> None:
    file = here / "odd"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    file.chmod(0o755)
    assert uses(here, "./odd") == Uses()
