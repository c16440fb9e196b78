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


BAD = [
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
