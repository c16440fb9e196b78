"""What is submitted is what runs and what is recorded, through the real command and the real server."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from labrun.capture.caller import DROPPED, DROPPED_PREFIXES
from tests.capture.installed import install, make_environment, site_of
from tests.cli.conftest import LAB, Shell
from tests.cli.conftest import shell as shell
from tests.cli.window import Window
from tests.helpers import wait_until

SHOW = "import json, os, sys\njson.dump([sys.argv[1:], dict(os.environ), sys.stdin.read()], sys.stdout)\n"


def told(shell: Shell, *args: str, **variables: str) -> tuple[list[str], dict[str, str], str]:
    """What a script sees: arguments, variables, standard input."""
    done = shell.lab("run", *args, **variables)
    arguments, seen, stdin = json.loads(done.stdout)
    return arguments, seen, stdin


def manifest(shell: Shell) -> dict[str, Any]:
    wait_until(lambda: shell.experiment("latest")["is_sealed"], 20, "it is sealed")
    found: dict[str, Any] = json.loads(Path(shell.experiment("latest")["folder"], "run_manifest.json").read_bytes())
    return found


def test_every_option_arrives_in_the_record_and_in_the_scripts_variables(shell: Shell) -> None:
    shell.write("show.py", SHOW)
    shell.write("c.yaml", "lr: 1e-3\n")
    data = shell.project / "sky"
    data.mkdir()
    (data / "a.csv").write_text("1\n")
    parent = shell.queue("--", "true")
    arguments, seen, _ = told(
        shell,
        *("--name", "wide", "--note", "because", "--priority", "high", "--timeout", "1h", "--grace", "5s"),
        *("--config", "c.yaml", "--input", "sky=sky", "--output", "*.csv", "--seed", "7"),
        *("--hypothesis", "it is so", "--context", "after the talk", "--intent", "to see", "--expect", "a line"),
        *("--parent-run", parent, "--experiment-group", "priors", "--tag", "a", "--tag", "b", "--disk", "1M"),
        *("--env", "MINE=1", "show.py", "--seed", "8"),
    )
    found = manifest(shell)
    assert arguments == ["--seed", "8"]
    assert (seen["LAB_SEED"], seen["LAB_NAME"], seen["MINE"]) == ("7", "wide", "1")
    assert Path(seen["LAB_CONFIG"]).read_text() == "lr: 1e-3\n"
    assert seen["LAB_CONFIGS"] == seen["LAB_CONFIG"]
    assert seen["AICHOR_INPUT_PATH"] == seen["LAB_INPUT_PATH"]
    assert seen["AICHOR_OUTPUT_PATH"] == seen["LAB_OUTPUT_PATH"]
    assert Path(seen["LAB_INPUT_SKY"], "a.csv").read_text() == "1\n"
    assert found["narrative"] == {
        "hypothesis": "it is so",
        "context": "after the talk",
        "intent": "to see",
        "expected_outcome": "a line",
        "parent_run": shell.experiment(parent)["run_id"],
        "experiment_group": "priors",
        "tags": ["a", "b"],
    } | {name: found["narrative"][name] for name in found["narrative"].keys() - _GIVEN}
    line = hashlib.sha256(b"1\n").hexdigest() + "  ./a.csv\0"
    assert found["datasets"][0]["checksum"] == "sha256:" + hashlib.sha256(line.encode()).hexdigest()
    assert found["configs"][0]["sha256"] == hashlib.sha256(b"lr: 1e-3\n").hexdigest()
    assert (found["priority"], found["seed"], found["is_seed_drawn"]) == (7, 7, False)
    assert found["artifacts"]["missing"] == ["*.csv"]
    assert found["environment"]["python_version"] == ".".join(map(str, sys.version_info[:3]))
    shell.lab("doctor")


_GIVEN = {"hypothesis", "context", "intent", "expected_outcome", "parent_run", "experiment_group", "tags"}


def test_a_script_finds_what_the_page_on_variables_says_and_nothing_else(shell: Shell) -> None:
    shell.write("show.py", SHOW)
    shell.write("c.yaml", "")
    dropped = {
        "DISPLAY": ":0",
        "TMUX": "x",
        "SSH_TTY": "x",
        "SLURM_JOB_ID": "1",
        "LAB_OPTION_NOTE": "x",
        "LAB_SEED": "1",
    }
    _, seen, _ = told(shell, "--name", "n", "--config", "c.yaml", "--input", "sky=c.yaml", "show.py", **dropped)
    page = Path(__file__).parents[2].joinpath("docs/reference/variables.md").read_text(encoding="utf-8")
    table = page.partition("## What a script finds")[2].partition("```")[0]
    named = set(re.findall(r"`([A-Z_]+)`", table)) | {"LAB_INPUT_SKY"}
    only_when_asked = {"CUDA_VISIBLE_DEVICES", "PYTHONPATH"}
    assert named - only_when_asked == seen.keys() - (shell.variables.keys() - {"LAB_HOME"}) - {"LC_CTYPE"}
    assert seen["LAB_SEED"] != "1"
    left_out = page.partition("Left out is")[2].partition("## ")[0]
    assert [name for name in DROPPED if f"`{name}`" not in left_out and name not in named | {"PWD"}] == []
    assert [start for start in DROPPED_PREFIXES if not start.startswith("LAB_") and f"`{start}`" not in left_out] == []


def test_standard_input_is_kept_and_read(shell: Shell) -> None:
    shell.write("show.py", SHOW)
    done = subprocess.run(
        [*LAB, "run", "--stdin", "show.py"],
        input=b"3 4\n",
        cwd=shell.project,
        env=shell.variables,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)[2] == "3 4\n"
    assert Path(shell.experiment("latest")["folder"], "submitted/stdin").read_bytes() == b"3 4\n"


def test_an_output_that_is_missing_is_named(shell: Shell) -> None:
    script = shell.write("save.py", "open('a.csv', 'w')\n")
    told_at_end = shell.lab("run", "--output", "*.csv", "--output", "model-?.pt", script).stderr
    assert "nothing matches `model-?.pt`" in told_at_end
    assert "*.csv" not in told_at_end
    assert "model-?.pt" in shell.lab("info").stdout


def test_edits_while_it_waits_change_nothing(shell: Shell) -> None:
    blocker = shell.queue("--", "sleep", "1000")
    script = shell.write("show.py", "print('old')\n")
    waiting = shell.queue(script)
    shell.write("show.py", "print('new')\n")
    shell.lab("cancel", blocker)
    shell.lab("wait", waiting)
    assert shell.lab("logs", waiting).stdout == "old\n"
    again = shell.project.parent / "again"
    shell.lab("restore", waiting, str(again))
    assert (again / "show.py").read_text() == "print('old')\n"


def test_a_live_one_runs_in_the_folder_itself(shell: Shell) -> None:
    script = shell.write("here.py", "import os; print(os.getcwd()); open('left.txt', 'w')\n")
    done = shell.lab("run", "--live", script)
    assert done.stdout == f"{shell.project}\n"
    assert "live" in done.stderr
    assert (shell.project / "left.txt").exists()
    assert manifest(shell)["code"]["is_live"]


def test_a_file_that_was_not_frozen_is_named_with_the_command_that_brings_it(shell: Shell) -> None:
    (shell.project / "data").mkdir()
    (shell.project / "data/x.csv").write_text("1 2\n")
    (shell.project / ".labignore").write_text("/data\n")
    script = shell.write("read.py", "import sys\nprint(open('data/x.csv').read(), sys.argv[1:])\n")
    told_at_end = shell.lab("run", script, "a b", status=1).stderr.splitlines()
    (ready,) = [line.partition("try: ")[2] for line in told_at_end if "try: " in line]
    assert ready == "lab run --link data read.py 'a b'"
    done = subprocess.run(
        ["/bin/sh", "-c", ready.replace("lab", f"{sys.executable} -m labrun.cli.main", 1)],
        cwd=shell.project,
        env=shell.variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "1 2" in done.stdout
    folder = Path(shell.experiment("latest")["folder"])
    assert (folder / "work/data").readlink() == shell.project / "data"
    assert not any("work/data" in found["path"] for found in manifest(shell)["artifacts"]["files"])


def test_a_program_that_was_not_frozen_is_named_with_the_command_that_brings_it(shell: Shell) -> None:
    """What a project builds is ignored by git as a rule, and so not in the copy."""
    (shell.project / "build").mkdir()
    (shell.project / "build/sim").write_text("#!/bin/sh\necho simulated\n")
    (shell.project / "build/sim").chmod(0o755)
    shell.write(".labignore", "/build\n")
    told = shell.lab("run", "build/sim", "--n", "3", status=127).stderr
    command = "lab run --link build -- build/sim --n 3"
    assert f"try: {command}" in told
    assert shell.lab(*command.split()[1:]).stdout == "simulated\n"


def test_the_question_is_asked_once_and_the_answer_remembered(shell: Shell) -> None:
    (shell.project / "data").mkdir()
    (shell.project / "data/x.csv").write_text("1 2\n")
    (shell.project / "big.bin").write_bytes(b"x" * 100)
    (shell.project / ".labignore").write_text("/data\n/big.bin\n")
    script = shell.write("read.py", "print(open('data/x.csv').read())\n")
    window = Window([*LAB, "run", script], shell.project, shell.variables)
    try:
        window.wait("not frozen with")
        window.wait("Enter for none: ")
        window.type("data nonsense\r")
        assert window.wait_exit() == 0
        assert "big.bin" in window.text
        assert "`nonsense` is none of them" in window.text
        assert "1 2" in window.text
    finally:
        window.close()
    assert "1 2" in shell.lab("run", script).stdout
    again = Window([*LAB, "run", script], shell.project, shell.variables)
    try:
        assert again.wait_exit() == 0
        assert "not frozen with" not in again.text
    finally:
        again.close()


def test_the_same_again_is_said_reused_or_taken_as_new(shell: Shell) -> None:
    script = shell.write("fit.py", "import sys; sys.exit(int(sys.argv[1]))\n")
    shell.lab("run", "--note", "the first", script, "0")
    told_again = shell.lab("run", script, "0").stderr
    assert "the same: succeeded, “the first”" in told_again
    assert "the same" not in shell.lab("run", "--new", script, "0").stderr
    before = len(shell.json("list")["experiments"])
    reused = shell.lab("run", "--reuse", script, "0")
    assert "nothing was submitted" in reused.stderr
    assert len(shell.json("list")["experiments"]) == before
    assert "the same" not in shell.lab("run", script, "1", status=1).stderr
    shell.lab("run", "--reuse", script, "1", status=1)
    assert len(shell.json("list")["experiments"]) == before + 2, "a failure is no result to reuse"
    shell.write("fit.py", "import sys; sys.exit(int(sys.argv[1])) # other code\n")
    assert "on other code" in shell.lab("run", script, "0").stderr


def test_the_definition_is_the_same_however_it_is_said_and_wherever_the_project_lies(shell: Shell) -> None:
    shell.write("fit.py", "")
    shell.write("c.yaml", "lr: 1\n")
    shell.write("e.yaml", "script: fit.py\nargs: [a]\nconfig: c.yaml\nseed: 7\nnote: from a file\n")
    elsewhere = shell.project.parent / "moved" / shell.project.name
    shutil.copytree(shell.project, elsewhere)
    said = ["--config", "c.yaml", "--seed", "7"]
    labels = [
        shell.queue(*said, "fit.py", "a"),
        shell.queue(*said, "--priority", "low", "--name", "x", "--env", "A=1", "fit.py", "a"),
        shell.queue("-f", "e.yaml"),
        shell.queue(*said, str(shell.project / "fit.py"), "a"),
        shell.lab("queue", "--quiet", *said, "fit.py", "a", cwd=elsewhere).stdout.strip(),
    ]
    assert len({shell.experiment(label)["definition"] for label in labels}) == 1
    others = [shell.queue(*said[:2], "fit.py", "a"), shell.queue(*said, "fit.py", "b"), shell.queue("fit.py", "a")]
    assert len({shell.experiment(label)["definition"] for label in (labels[0], *others)}) == 4


def test_a_pod_and_what_stands_beside_it_are_in_the_record(shell: Shell) -> None:
    shell.lab("init")
    (shell.home / "home.toml").write_text('[pods.small]\ncpus = 1\nmemory = "256M"\n')
    shell.lab("run", "--pod", "small", "--memory", "64M", "--disk", "1M", "--", "true")
    found = manifest(shell)
    asked = found["resources"]["requested"]
    assert (found["pod"], asked["cpu_cores"], asked["ram_gb"]) == ("small", 1, 0.0625)
    assert asked["disk_gb"] == round(1 / 1024, 6)


@pytest.mark.parametrize("is_outside", [False, True], ids=["in the project", "from outside"])
def test_what_the_readme_says_runs_it_again_by_hand(shell: Shell, is_outside: bool) -> None:
    shell.write("c 1.yaml", "lr: 1\n")
    (shell.project / "data").mkdir()
    (shell.project / "data/x.csv").write_text("1 2\n")
    shell.write("beside.py", "")
    shell.write(
        "show.py",
        "import os, sys, beside\n"
        "told = os.environ\n"
        "print(told['LAB_SEED'], 'LAB_OUTPUT_PATH' in told, sys.argv[1:], sys.stdin.read())\n"
        "print(open(told['LAB_CONFIG']).read(), open(told['LAB_CONFIGS']).read())\n"
        "print(open(told['LAB_INPUT_SKY'] + '/x.csv').read(), os.listdir(told['LAB_INPUT_PATH']))\n",
    )
    there = f"{shell.project}/" if is_outside else ""
    options = ["--config", f"{there}c 1.yaml", "--input", f"sky={there}data", "--stdin"]
    done = subprocess.run(
        [*LAB, "run", *options, f"{there}show.py", "a b"],
        input="typed",
        cwd=shell.project.parent if is_outside else shell.project,
        env=shell.variables,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    manifest(shell)
    shell.write("show.py", "raise SystemExit('edited since')\n")
    folder = Path(shell.experiment("latest")["folder"])
    said = (folder / "README.md").read_text().partition("## Run it again by hand\n\n")[2].partition("\n\n")[0]
    by_hand = subprocess.run(
        ["bash", "-ec", textwrap.dedent(said).replace("/tmp/again", f"{shell.project.parent}/again")],
        cwd=folder,
        env={"PATH": shell.variables["PATH"]},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (by_hand.stdout, by_hand.stderr, by_hand.returncode) == (done.stdout, "", 0)


def test_a_requeue_runs_again_by_hand_with_the_copies_of_its_staged_files(shell: Shell) -> None:
    script = shell.write(
        "go.py",
        "import os, sys\nfor word in sys.argv[1:]:\n    print(open(word.partition('=')[2]).read())\n"
        "open(os.environ['LAB_OUTPUT_PATH'] + '/a b.txt', 'w').write('weights')\n",
    )
    shell.lab("run", script)
    new = shell.lab("requeue", "--quiet", "--stage", "outputs/a b.txt", "latest", "--", "from={staged}").stdout.strip()
    shell.lab("wait", new)
    (shell.project / "go.py").unlink()
    folder = Path(shell.experiment(new)["folder"])
    wait_until(lambda: "Succeeded" in (folder / "README.md").read_text(), 20, "its README is written")
    said = (folder / "README.md").read_text().partition("## Run it again by hand\n\n")[2].partition("\n\n")[0]
    assert """'from='"$here"'/staged/a b.txt'""" in said or """from="$here"'/staged/a b.txt'""" in said
    by_hand = subprocess.run(
        ["bash", "-ec", textwrap.dedent(said).replace("/tmp/again", f"{shell.project.parent}/again")],
        cwd=folder,
        env={"PATH": shell.variables["PATH"]},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (by_hand.stdout, by_hand.stderr) == ("weights\n", "")


def test_a_variables_file_of_two_megabytes_arrives(shell: Shell) -> None:
    script = shell.write("count.py", "import os; print(sum(len(v) for k, v in os.environ.items() if k[0] == 'V'))\n")
    many = {f"V{n}": "x" * 100_000 for n in range(20)}
    assert shell.lab("run", script, **many).stdout == "2000000\n"


def test_a_pod_stands_for_resources_and_an_unknown_one_is_refused_with_those_known(shell: Shell) -> None:
    shell.lab("init")
    (shell.home / "home.toml").write_text('[pods.small]\ncpus = 1\nmemory = "64M"\n[pods.big]\ncpus = 4000\n')
    label = shell.queue("--pod", "small", "--", "true")
    assert shell.experiment(label)["resources"] == {"cpus": 1, "memory_bytes": 64 * 2**20}
    assert "big, small" in shell.lab("queue", "--pod", "huge", "--", "true", status=2).stderr
    shell.lab("queue", "--pod", "big", "--", "true", status=2)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--parent", "EXP-999"], "EXP-999"),
        (["--config", "folder"], "a file; this is a folder"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--input", "sky"], "NAME=PATH"),
        (["--input", "s-k=folder"], "LAB_INPUT_<NAME>"),
        (["--input", "sky=nowhere"], "nowhere"),
        (["--input", "path=folder"], "other than `path`"),
        (["--input", "sky=folder", "--input", "SKY=folder"], "by more than case"),
        (["--output", "/abs/*"], "/abs/*"),
        (["--output", "../up"], "../up"),
        (["--seed", "-1"], "--seed"),
        (["--link", "nowhere"], "nowhere"),
        (["--link", ".."], "below the source folder"),
        (["--reuse", "--new"], "--new"),
        (["--stdin"], "--stdin") if os.isatty(0) else (["--seed", "x"], "--seed"),
        (["--disk", "1Z"], "1Z"),
        (["--gpu-memory", "8G"], "GPU"),
        (["--metrics-from", "nothing"], "key=value"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_and_nothing_is_queued(shell: Shell, options: list[str], word: str) -> None:
    (shell.project / "folder").mkdir()
    shell.write("x.py", "")
    status = 1 if options[0] == "--parent" else 2
    assert word in shell.lab("queue", *options, "x.py", status=status).stderr
    assert shell.json("list")["experiments"] == []


def test_looking_only_starts_and_makes_nothing(shell: Shell) -> None:
    shell.write("x.py", "")
    (shell.project / "lab.toml").write_text('[experiment]\npriority = "high"\ntags = ["sky"]\n')
    table = shell.lab("queue", "--dry-run", "--gpus", "2", "x.py", "--lr", "1", LAB_OPTION_TIMEOUT="2h").stdout
    assert [line.split() for line in table.splitlines()][:3]
    for words in (
        ("priority", "high", "lab.toml"),
        ("timeout", "2h", "$LAB_OPTION_TIMEOUT"),
        ("resources.gpus", "2", "--gpus"),
    ):
        assert any(all(word in line for word in words) for line in table.splitlines()), (words, table)
    found = shell.json("queue", "--dry-run", "x.py")
    assert (found["request"]["spec"]["priority"], found["is_submitted"]) == (7, False)
    assert "PATH" in found["request"]["variables"]
    assert shell.lab("queue", "--validate", "x.py").stdout == "valid: nothing was submitted\n"
    assert "Nothing was submitted." in shell.lab("queue", "--explain", "x.py").stdout
    shell.lab("queue", "--validate", "--priority", "11", "x.py", status=2)
    assert not shell.home.exists()


WHERE = """\
import importlib.util, json, os, sys
from pathlib import Path
print(json.dumps([sys.prefix, importlib.util.find_spec("labrun") is None, os.getcwd(), str(Path(__file__).resolve())]))
"""


def test_a_script_needs_nothing_of_labrun_in_its_own_environment(shell: Shell) -> None:
    """labrun lives in an environment of its own, as pipx installs it; the script runs in the caller's."""
    venv = shell.project.parent / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    shell.write("where.py", WHERE)
    variables = {"VIRTUAL_ENV": str(venv), "PATH": f"{venv}/bin:{shell.variables['PATH']}"}
    prefix, is_absent, _, _ = json.loads(shell.lab("run", "where.py", **variables).stdout)
    assert (prefix, is_absent) == (str(venv), True)
    assert manifest(shell)["environment"]["python_prefix"] == str(venv)


def environment(shell: Shell) -> dict[str, Any]:
    wait_until(lambda: shell.experiment("latest")["is_sealed"], 20, "it is sealed")
    folder = shell.experiment("latest")["folder"]
    found: dict[str, Any] = json.loads(Path(folder, "submitted/environment.json").read_bytes())
    return found


def test_a_program_that_is_or_names_a_python_is_recorded_with_that_one(shell: Shell) -> None:
    """Not with the caller's: that is how records come to list packages of another environment."""
    python = make_environment(shell.project.parent / "other")
    install(site_of(python), "thing", "2.0")
    tool = shell.project / "tool"
    tool.write_text(f"#!{python}\nimport sys; print(sys.prefix)\n")
    tool.chmod(0o755)
    shell.write("where.py", "import sys; print(sys.prefix)\n")
    for words in (["--", str(python), "where.py"], ["tool"], ["--", "sh", "-c", "exec ./tool"]):
        assert shell.lab("run", *words).stdout.strip() == str(python.parents[1])
    found = environment(shell)
    assert found["python"]["is_guess"], "of `sh` nobody knows what it starts"
    for words in (["--", str(python), "where.py"], ["tool"]):
        shell.lab("run", *words)
        found = environment(shell)
        assert found["python"]["prefix"] == str(python.parents[1])
        assert "is_guess" not in found["python"]
        assert found["packages"] == ["thing==2.0"]


def test_what_uv_run_chooses_is_not_claimed_to_be_known(shell: Shell) -> None:
    tools = shell.project.parent / "tools"
    tools.mkdir()
    (tools / "uv").write_text(f'#!/bin/sh\nshift\nexec {sys.executable} "$@"\n')
    (tools / "uv").chmod(0o755)
    shell.write("uv.lock", "version = 1\n")
    shell.write("x.py", "print('ran')\n")
    done = shell.lab("run", "--", "uv", "run", "x.py", PATH=f"{tools}:{shell.variables['PATH']}")
    assert done.stdout == "ran\n"
    assert "`uv run` chooses the environment as it starts: its Python and packages are not recorded" in done.stderr
    found = environment(shell)
    assert found["chosen_by"] == "uv run"
    assert "python" not in found
    assert "packages" not in found
    assert [lock["path"] for lock in found["locks"]] == ["uv.lock"]
    assert "- Environment: `uv run` chooses it" in Path(shell.experiment("latest")["folder"], "README.md").read_text()
    assert manifest(shell)["environment"]["environment_chosen_by"] == "uv run"


POETRY = """\
#!/bin/sh
# As poetry does: the active environment, else the one in the folder, else an empty one for the folder's path.
shift
for prefix in "$VIRTUAL_ENV" "$PWD/.venv"; do
    [ -x "$prefix/bin/python" ] && shift && exec "$prefix/bin/python" "$@"
done
echo "Creating virtualenv"; exit 7
"""


def test_what_poetry_run_looks_for_in_the_folder_it_finds_in_the_frozen_copy(shell: Shell) -> None:
    tool = shell.project.parent / "tools/poetry"
    tool.parent.mkdir()
    tool.write_text(POETRY)
    tool.chmod(0o755)
    shell.write("pyproject.toml", "")
    shell.write("x.py", "import sys; print(sys.prefix)\n")
    path = {"PATH": f"{tool.parent}:{shell.variables['PATH']}", "VIRTUAL_ENV": ""}
    words = ["--", "poetry", "run", "python", "x.py"]
    told = shell.lab("run", *words, status=7, **path)
    assert "`poetry run lab …` takes yours along" in told.stderr

    install(site_of(make_environment(shell.project / ".venv")), "thing", "2.0")
    told = shell.lab("run", *words, **path)
    assert "`.venv` is linked into the frozen copy, for `poetry` looks for it there" in told.stderr
    folder = Path(shell.experiment("latest")["folder"])
    assert told.stdout.strip() == str(folder / "work/.venv")
    assert (folder / "work/.venv").readlink() == shell.project / ".venv"
    found = environment(shell)
    assert (found["packages"], found["python"]["prefix"]) == (["thing==2.0"], str(shell.project / ".venv"))
    assert "chosen_by" not in found

    shell.lab("run", "--live", *words, **path)
    assert not (shell.project / ".venv").is_symlink()


def test_from_a_subfolder_another_folder_and_by_absolute_path_the_frozen_script_runs(shell: Shell) -> None:
    inner = shell.project / "src/deep"
    inner.mkdir(parents=True)
    (inner / "where.py").write_text(WHERE)
    elsewhere = shell.project.parent / "elsewhere"
    elsewhere.mkdir()
    cases = [
        (shell.project, "src/deep/where.py", ""),
        (inner, "where.py", "src/deep"),
        (inner, str(inner / "where.py"), "src/deep"),
        (shell.project, str(inner / "where.py"), ""),
    ]
    for cwd, script, place in cases:
        _, _, here, file = json.loads(shell.lab("run", script, cwd=cwd).stdout)
        work = Path(shell.experiment("latest")["folder"], "work").resolve()
        assert Path(here) == work / place, script
        assert Path(file) == work / "src/deep/where.py", script
    done = shell.lab("run", str(inner / "where.py"), cwd=elsewhere)
    _, _, here, file = json.loads(done.stdout)
    assert here == str(elsewhere)
    assert "not frozen: the working directory" in done.stderr
    assert file == str(Path(shell.experiment("latest")["folder"], "work/src/deep/where.py").resolve())
