"""The corpus of bad files lies in `tests/data/bad_experiments`: each beside the errors that are told, word by word."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labrun.client.experiment_file import SIZE_LIMIT_BYTES, read
from labrun.core.errors import BadDescription, BadValue, NoSuchScript, RequestError, TooBig

CORPUS = Path(__file__).parents[1] / "data/bad_experiments"
BAD = sorted(path.name for path in CORPUS.iterdir() if path.suffix != ".said")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with what the files of this page name."""
    folder = tmp_path / "project"
    (folder / "configs").mkdir(parents=True)
    for name in ("train.py", "configs/lr.yaml", "settings.yaml", "catalogue.csv"):
        (folder / name).touch()
    return folder


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def told(path: Path, **options: Any) -> list[str]:
    """The errors of a file, without the folder's name."""
    with pytest.raises(BadDescription) as refusal:
        read(path, **options)
    details = refusal.value.details
    assert isinstance(details, list)
    lines = [f"{item['at']}: {item['message']}" for item in details]
    return [line.replace(f"{path.parent}", "…").replace(f"{path.parents[1]}", "…/..") for line in lines]


# --- bad files


@pytest.mark.parametrize("name", BAD)
def test_everything_wrong_with_a_file_is_told_at_once_with_its_place(name: str, project: Path) -> None:
    shutil.copy(CORPUS / name, project)
    expected = (CORPUS / f"{name}.said").read_text(encoding="utf-8").splitlines()
    assert told(project / name) == expected


def test_a_refusal_counts_says_that_nothing_happened_and_what_to_do(project: Path) -> None:
    path = write(project, "e.yaml", "script: train.py\nseed: x\nlive: 1\n")
    with pytest.raises(BadDescription) as refusal:
        read(path)
    assert refusal.value.message == f"`{path}` has 2 errors; nothing was submitted"
    assert refusal.value.hint == "mend it and try again; `lab schema` prints what is allowed"


def test_of_very_many_errors_the_first_are_listed(project: Path) -> None:
    shutil.copy(CORPUS / "many.yaml", project)
    with pytest.raises(BadDescription) as refusal:
        read(project / "many.yaml")
    assert "60 errors, the first 50 are listed" in refusal.value.message


@pytest.mark.parametrize(
    ("name", "make", "why"),
    [
        ("no.yaml", lambda path: None, "no such file"),
        ("folder.yaml", lambda path: path.mkdir(), "not a regular file"),
        ("pipe.yaml", lambda path: os.mkfifo(path), "not a regular file"),
        ("loop.yaml", lambda path: path.symlink_to(path.name), "symbolic link"),
        ("x" * 300 + ".yaml", lambda path: None, "name too long"),
    ],
)
def test_what_is_no_file_is_refused_without_waiting(name: str, make: Any, why: str, tmp_path: Path) -> None:
    make(tmp_path / name)
    with pytest.raises(NoSuchScript) as refusal:
        read(tmp_path / name)
    assert why in refusal.value.message


def test_a_missing_file_names_the_nearest_one(project: Path) -> None:
    write(project, "experiment.yaml", "script: train.py\n")
    with pytest.raises(NoSuchScript) as refusal:
        read(project / "experimnt.yaml")
    assert refusal.value.hint == f"did you mean `{project}/experiment.yaml`?"


@pytest.mark.parametrize("name", ["experiment.ini", "experiment.txt"])
def test_another_ending_is_refused_with_ours(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadValue) as refusal:
        read(write(tmp_path, name, "script: train.py\n"))
    assert ".yaml, .yml, .toml, .json" in refusal.value.message


def test_a_path_with_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        read(tmp_path / "a\0b.yaml")


def test_a_file_that_nobody_wrote_by_hand_is_refused_unread(project: Path) -> None:
    path = write(project, "e.yaml", "script: train.py\n" + "#" * SIZE_LIMIT_BYTES)
    with pytest.raises(TooBig):
        read(path)


# --- good files

SAME = {
    "e.yaml": "script: train.py\nargs: [--lr, 1e-3]\nresources: {gpus: 1, memory: 8G}\nenv: {A: 1}\npriority: high\n",
    "e.toml": 'script = "train.py"\nargs = ["--lr", 1e-3]\nresources = {gpus = 1, memory = "8G"}\nenv.A = 1\n'
    'priority = "high"\n',
    "e.json": '{"script": "train.py", "args": ["--lr", 1e-3], "resources": {"gpus": 1, "memory": "8G"},'
    ' "env": {"A": 1}, "priority": "high"}',
}


@pytest.mark.parametrize("name", SAME)
def test_three_forms_say_the_same(name: str, project: Path) -> None:
    found = read(write(project, name, SAME[name]))
    assert found.description == {
        "script": "train.py",
        "args": ["--lr", "1e-3"],
        "resources": {"gpus": 1, "memory": "8G"},
        "env": {"A": "1"},
        "priority": "high",
        "cwd": str(project),
    }
    assert found.notices == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("e.yaml", "command: [./sim, 1.10, 0x1F, 007, 1e5, 12345678901234567890]\nenv: {V: 3.10}\n"),
        ("e.toml", 'command = ["./sim", 1.10, 0x1F, "007", 1e5, 12345678901234567890]\nenv = {V = 3.10}\n'),
    ],
)
def test_a_number_on_a_command_line_is_what_was_written(name: str, text: str, project: Path) -> None:
    found = read(write(project, name, text)).description
    assert found["command"] == ["./sim", "1.10", "0x1F", "007", "1e5", "12345678901234567890"]
    assert found["env"] == {"V": "3.10"}


def test_yaml_is_read_as_1_2(project: Path) -> None:
    found = read(write(project, "e.yaml", "script: train.py\nname: on\nnote: 2026-11-20\ntimeout: 1e3\nseed: 0o17\n"))
    assert (found.description["name"], found.description["note"]) == ("on", "2026-11-20")
    assert (found.description["timeout"], found.description["seed"]) == (1000.0, 15)


def test_anchors_stand_for_what_they_name(project: Path) -> None:
    found = read(write(project, "e.yaml", "script: train.py\nnote: &why wider prior\nintent: *why\n"))
    assert found.description["intent"] == "wider prior"


def test_a_schema_for_editors_and_a_byte_order_mark_are_passed_over(project: Path) -> None:
    text = '\ufeff{"$schema": "experiment.schema.json", "format": 1, "script": "train.py"}'
    assert "$schema" not in read(write(project, "e.json", text)).description


def test_paths_are_relative_to_the_folder_the_file_names(project: Path, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    path = write(tmp_path / "files", "e.yaml", "cwd: ../project\nscript: train.py\nconfig: configs/lr.yaml\n")
    found = read(path).description
    assert (found["cwd"], found["script"]) == (str(project), "train.py")
    assert found["config"] == [f"{project}/configs/lr.yaml"]


def test_a_tilde_is_the_home_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project))
    text = "script: train.py\nconfig: ~/settings.yaml\ninputs: {stars: ~/catalogue.csv}\npython: ~/venv/bin/python\n"
    found = read(write(project, "e.yaml", text)).description
    assert found["config"] == [f"{project}/settings.yaml"]
    assert found["inputs"] == {"stars": f"{project}/catalogue.csv"}
    assert found["python"] == f"{project}/venv/bin/python"


def test_pod_type_is_pod(project: Path) -> None:
    found = read(write(project, "e.yaml", "script: train.py\npod_type: h100\n"))
    assert found.description["pod"] == "h100"
    assert found.place_of("pod").endswith("e.yaml:2:1")


def test_a_file_need_not_say_what_to_run_when_the_command_line_does(project: Path) -> None:
    path = write(project, "e.yaml", "note: the base of many\n")
    assert read(path, has_target=True).description["note"] == "the base of many"
    assert told(path) == ["…/e.yaml:1:1: nothing to run: give one of `script`, `module`, `command`"]
    assert read(write(project, "f.yaml", "script: gone.py\n"), has_target=True)


def test_every_value_knows_where_it_was_given(project: Path) -> None:
    path = write(project, "e.yaml", "script: train.py\nresources:\n  gpus: 1\n")
    place_of = read(path).place_of
    assert place_of("resources.gpus") == f"{path}:3:3"
    assert place_of("cwd") == str(path)


# --- several files of one name


def test_a_file_of_the_same_name_that_disagrees_is_named(project: Path) -> None:
    write(project, "e.toml", 'script = "train.py"\nseed = 2\n')
    found = read(write(project, "e.yaml", "script: train.py\nseed: 1\nnote: x\n"))
    assert found.notices == ("e.toml beside it describes another experiment (`seed`, `note`); e.yaml is used",)


@pytest.mark.parametrize(
    "text",
    ['script = "train.py"\nseed = 1\n', "rate = 1\n", "seed = = 1\n", ""],
    ids=["same", "data", "broken", "empty"],
)
def test_one_that_agrees_or_is_no_experiment_is_not(text: str, project: Path) -> None:
    write(project, "e.toml", text)
    assert read(write(project, "e.yaml", "script: train.py\nseed: 1\n")).notices == ()


def test_without_an_ending_the_one_there_is_is_read(project: Path) -> None:
    write(project, "e.toml", 'script = "train.py"\nseed = 1\n')
    assert read(project / "e").description["seed"] == 1
    write(project, "e.json", '{"script": "train.py", "seed": 1}')
    assert read(project / "e").description["seed"] == 1


def test_without_an_ending_two_that_disagree_are_refused(project: Path) -> None:
    write(project, "e.toml", 'script = "train.py"\nseed = 1\n')
    write(project, "e.json", '{"script": "train.py", "seed": 2}')
    with pytest.raises(BadValue) as refusal:
        read(project / "e")
    assert "e.toml and e.json differ in `seed`" in refusal.value.message


def test_without_an_ending_and_without_a_file_the_endings_are_named(project: Path) -> None:
    with pytest.raises(NoSuchScript) as refusal:
        read(project / "planck")
    assert refusal.value.hint == "name a file that ends in .yaml, .yml, .toml, .json"


# --- anything at all


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"script: train.py\nnote: \xed\xa0\x80\n")
@example(b"? : :\n")
def test_no_bytes_at_all_break_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for suffix in (".yaml", ".toml", ".json"):
        path = folder / f"any{suffix}"
        path.write_bytes(content)
        with suppress(BadDescription):
            read(path)
        path.unlink()


@given(st.data())
def test_a_good_file_with_one_letter_changed_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(SAME)))
    text = SAME[name]
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from([*"{}[]:,\"'#&*!|>%@`=-.~\t\n\\0x", ""]))
    path = tmp_path_factory.getbasetemp() / f"changed{Path(name).suffix}"
    path.write_text(text[:at] + letter + text[at + 1 :], encoding="utf-8")
    with suppress(BadDescription):
        assert json.dumps(read(path, has_target=True).description)
    path.unlink()
