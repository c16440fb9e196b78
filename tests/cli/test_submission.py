import sys
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labrun.cli.output import Output
from labrun.cli.queue import queue
from labrun.cli.submission import Submission, build, split
from labrun.core.errors import LabError

TAKING = {"-m", "--name", "--priority", "--env"}
FLAGS = {"--json", "--quiet", "-h", "--help"}
words = st.lists(st.text(max_size=12))


@given(words)
@example(["--name", "x", "--", "-m", "--json", "\ud800"])
def test_everything_after_the_script_is_the_scripts(rest: list[str]) -> None:
    assert split(["--name", "fit", "train.py", *rest], TAKING, FLAGS) == (["--name", "fit"], ["train.py", *rest], False)


@given(words)
def test_everything_after_the_module_is_the_modules(rest: list[str]) -> None:
    assert split(["--json", "-m", "a.b", *rest], TAKING, FLAGS) == (["--json", "-m", "a.b"], rest, False)


@given(words)
def test_everything_after_two_dashes_is_the_programs(rest: list[str]) -> None:
    assert split(["--priority=3", "--", *rest], TAKING, FLAGS) == (["--priority=3"], rest, True)


def test_a_value_that_looks_like_a_script_belongs_to_its_option() -> None:
    assert split(["--name", "train.py", "run.py", "--name"], TAKING, FLAGS) == (
        ["--name", "train.py"],
        ["run.py", "--name"],
        False,
    )


def test_an_unknown_option_is_left_to_the_parser() -> None:
    ours, rest, _ = split(["--priorty", "3", "train.py"], TAKING, FLAGS)
    assert (ours, rest) == (["--priorty"], ["3", "train.py"])


def submission(*args: str) -> Submission:
    """What `lab queue` with these arguments would send."""
    built: list[Submission] = []

    @click.pass_context
    def keep(ctx: click.Context, /, **chosen: Any) -> None:
        built.append(build(ctx, chosen))

    command = type(queue)("queue", params=queue.params, callback=keep)
    command.main(list(args), standalone_mode=False, obj=Output())
    return built[0]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/train.py").write_text("print(1)\n")
    monkeypatch.setenv("VIRTUAL_ENV", "")
    return tmp_path


def in_folder(folder: Path, *args: str) -> Submission:
    import contextlib

    with contextlib.chdir(folder):
        return submission(*args)


@given(rest=words.filter(lambda found: not any("\0" in word for word in found)))
def test_arguments_arrive_verbatim_in_what_is_sent(rest: list[str]) -> None:
    try:
        argv = submission("--", "true", *rest).request["spec"]["target"]["argv"]
    except LabError:
        assert any(not word.isprintable() for word in rest)  # a lone surrogate: refused, never altered
    else:
        assert argv == ["true", *rest]


def test_a_script_is_sent_with_its_interpreter_root_and_place(project: Path) -> None:
    sent = in_folder(project / "sub", "--name", "fit\n👩‍🔬", "--priority", "high", "train.py", "--lr", "1e-3")
    spec = sent.request["spec"]
    python = spec["interpreter"]
    assert Path(python).name.startswith("python")
    assert spec["target"] == {"kind": "script", "name": "train.py", "argv": [python, "train.py", "--lr", "1e-3"]}
    assert spec["source"] == {"cwd": "sub", "cwd_is_live": False, "root": str(project)}
    assert (spec["name"], spec["priority"], spec["lab"]) == ("fit\n👩‍🔬", 7, "main")
    assert spec["surroundings"]["limits"]["NOFILE"] > 0
    assert "PATH" in sent.request["variables"]
    assert sent.hint is None


def test_durations_sizes_and_counts_are_read(project: Path) -> None:
    options = ("--timeout", "1h30m", "--grace", "2s", "--cpus", "2", "--memory", "512M", "--gpus", "0")
    spec = in_folder(project, *options, "sub/train.py").request["spec"]
    assert (spec["timeout_s"], spec["grace_s"]) == (5400.0, 2.0)
    assert spec["resources"] == {"cpus": 2, "memory_bytes": 512 * 2**20, "gpu_count": 0}


def test_a_module_runs_from_the_callers_place(project: Path) -> None:
    spec = in_folder(project / "sub", "-m", "pkg.train", "-m", "x").request["spec"]
    assert spec["target"]["argv"][1:] == ["-m", "pkg.train", "-m", "x"]
    assert spec["source"] == {"cwd": "sub", "cwd_is_live": False, "root": str(project)}


def test_a_lab_option_after_the_script_is_the_scripts_and_is_hinted_at(project: Path) -> None:
    sent = in_folder(project, "sub/train.py", "--priority", "3", "--lr", "1")
    assert sent.request["spec"]["target"]["argv"][2:] == ["--priority", "3", "--lr", "1"]
    assert "priority" not in sent.request["spec"]
    assert sent.hint == "`--priority 3` went to the script; put lab options before it"


def test_after_two_dashes_nobody_is_corrected(project: Path) -> None:
    assert in_folder(project, "--", "true", "--priority", "3").hint is None


def test_every_option_goes_to_its_field(project: Path) -> None:
    (project / "a.yaml").touch()
    (project / "data").mkdir()
    sent = in_folder(
        project,
        *("--config", "a.yaml", "--input", "sky=data", "--output", "*.csv", "--link", "data", "--metrics-from", "json"),
        *("--seed", "7", "--hypothesis", "h", "--context", "c", "--intent", "i", "--expect", "e", "--parent", "EXP-1"),
        *("--group", "g", "--tag", "x", "--tag=y", "--disk", "1G", "--gpu-memory", "40G", "--lab", "two", "--reuse"),
        "sub/train.py",
    )
    request, spec = sent.request, sent.request["spec"]
    assert (request["configs"], request["inputs"]) == ([str(project / "a.yaml")], {"sky": str(project / "data")})
    assert (request["links"], request["duplicates"]) == (["data"], "reuse")
    assert (spec["seed"], spec["lab"], spec["expected_outputs"], spec["metrics_from"]) == (7, "two", ["*.csv"], "json")
    assert spec["resources"] == {"disk_bytes": 2**30, "gpu_memory_bytes": 40 * 2**30}
    assert spec["narrative"] == {
        **{"hypothesis": "h", "context": "c", "intent": "i", "expected_outcome": "e"},
        **{"parent_run": "EXP-1", "experiment_group": "g", "tags": ["x", "y"]},
    }


def test_the_long_names_of_parent_and_group_mean_the_same(project: Path) -> None:
    long = in_folder(project, "--parent-run", "EXP-1", "--experiment-group", "g", "sub/train.py")
    short = in_folder(project, "--parent", "EXP-1", "--group", "g", "sub/train.py")
    assert long.request["spec"]["narrative"] == short.request["spec"]["narrative"]


def test_new_is_sent_and_nothing_by_default(project: Path) -> None:
    assert in_folder(project, "--new", "sub/train.py").request["duplicates"] == "new"
    assert "duplicates" not in in_folder(project, "sub/train.py").request


def test_a_program_that_has_options_like_ours_keeps_them(project: Path) -> None:
    sent = in_folder(project, "sub/train.py", "--config", "c.yaml", "--seed", "7", "--tag", "x")
    assert sent.request["spec"]["target"]["argv"][2:] == ["--config", "c.yaml", "--seed", "7", "--tag", "x"]
    assert sent.hint is None, "these are most likely the script's own"


def test_the_projects_file_is_that_of_the_script(project: Path) -> None:
    (project / "lab.toml").write_text("[experiment]\nnote = 'from the project'\nlinks = ['sub']\n")
    outside = project.parent
    sent = in_folder(outside, str(project / "sub/train.py"))
    assert sent.request["spec"]["note"] == "from the project"
    assert sent.request["links"] == ["sub"], "its paths count from its folder"
    assert "note" not in in_folder(outside, "--", "true").request["spec"]


def test_a_variable_that_names_a_python_counts_from_where_one_stands(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "bin").mkdir()
    (project / "bin/python").symlink_to(sys.executable)
    (project / "sub/e.toml").write_text("script = 'train.py'\n")
    monkeypatch.setenv("LAB_OPTION_PYTHON", "bin/python")
    assert in_folder(project, "-f", "sub/e.toml").request["spec"]["interpreter"] == str(project / "bin/python")


BAD = [
    ("bad_value", ("--seed", "-1")),
    ("bad_value", ("--seed", "9" * 20)),
    ("bad_value", ("--input", "sky")),
    ("bad_value", ("--input", "=data")),
    ("bad_value", ("--reuse", "--new")),
    ("bad_value", ("--disk", "much")),
    ("bad_value", ("--gpu-memory", "0")),
    ("bad_value", ("--parent", "")),
    ("bad_value", ("--tag", "")),
    ("bad_value", ("--pod", "h100")),
    ("no_such_script", ("--file", "nowhere.yaml")),
    ("bad_value", ("--priority", "11")),
    ("bad_value", ("--priority", "urgent")),
    ("bad_value", ("--timeout", "soon")),
    ("bad_value", ("--timeout", "0")),
    ("bad_value", ("--grace", "-1")),
    ("bad_value", ("--memory", "much")),
    ("bad_value", ("--cpus", "0")),
    ("bad_value", ("--cpus", "1.5")),
    ("bad_value", ("--gpus", "٣")),
    ("bad_value", ("--name", "n" * 201)),
    ("bad_value", ("--name", "")),
    ("bad_value", ("--name", "a\0b")),
    ("bad_value", ("--note", "\udcff")),
    ("bad_value", ("--env", "=x")),
    ("bad_value", ("--env", "NOT_SET_ANYWHERE_1")),
    ("bad_value", ("--env", "A=\0")),
]


@pytest.mark.parametrize(("code", "options"), BAD, ids=[" ".join(options)[:20] for _, options in BAD])
def test_a_bad_option_is_refused_before_anything_is_sent(project: Path, code: str, options: tuple[str, ...]) -> None:
    with pytest.raises(LabError) as refusal:
        in_folder(project, *options, "sub/train.py")
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("code", "rest", "named"),
    [
        ("too_big", ["--data", "x" * 131072], "argument 3 (it begins with `xxxx"),
        ("too_big", ["x" * 100_000] * 80, "the command line with its environment"),
        ("bad_value", ["a\udcff"], "argument 1"),
        ("bad_value", ["a\0b"], "argument 1"),
    ],
    ids=["one argument", "all together", "not UTF-8", "NUL"],
)
def test_arguments_no_kernel_or_record_takes_are_refused_by_name(
    project: Path, code: str, rest: list[str], named: str
) -> None:
    with pytest.raises(LabError) as refusal:
        in_folder(project, "sub/train.py", *rest)
    assert refusal.value.code == code
    assert named in refusal.value.message


def test_the_longest_argument_the_kernel_takes_is_accepted(project: Path) -> None:
    assert in_folder(project, "sub/train.py", "x" * 131071).request["spec"]["target"]["argv"][2] == "x" * 131071
