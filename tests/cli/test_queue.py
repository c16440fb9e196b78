import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.capture.installed import editable, install, make_environment, site_of
from tests.cli.conftest import LAB, Shell
from tests.helpers import wait_until

pytestmark = pytest.mark.timeout(120)


def test_quiet_prints_the_label_alone_and_json_what_the_server_answered(shared: Shell) -> None:
    shared.write("hello.py", "print('hello')\n")
    label = shared.lab("queue", "--quiet", "hello.py").stdout
    assert label.startswith("EXP-")
    assert label.endswith("\n")
    accepted = shared.json("queue", "--name", "fit", "--note", "wider prior", "--priority", "high", "hello.py")
    one = accepted["experiment"]
    assert (one["name"], one["note"], one["priority"]) == ("fit", "wider prior", 7)
    told = shared.lab("queue", "hello.py")
    assert told.stdout.startswith("EXP-")
    assert "python" in told.stderr


def test_a_submit_returns_before_its_turn_and_says_what_it_waits_for(served: Shell) -> None:
    first = served.queue("--", "sleep", "1000")
    served.wait_step(first, "running")
    told = served.lab("queue", "--", "true").stdout
    assert re.search(r"EXP-002 queued: #1(, | in line)", told)
    wait_until(lambda: f"running: {first}" in (served.experiment("EXP-002")["reason"] or ""), 10, "its reason is known")


def test_what_is_only_counted_is_said(shared: Shell) -> None:
    told = shared.lab("queue", "--cpus", "1", "--", "true").stderr
    assert "counted" in told


def test_an_impossible_request_is_refused_with_status_2(shared: Shell) -> None:
    refusal = json.loads(shared.lab("queue", "--json", "--cpus", "100000", "--", "true", status=2).stdout)
    assert refusal["error"]["code"] == "impossible_request"


def test_twenty_first_commands_at_once_make_one_server_and_twenty_experiments(served: Shell) -> None:
    served.write("hello.py", "print('hello')\n")
    waiting = [served.start("queue", "--quiet", "hello.py") for _ in range(20)]
    results = [process.communicate(timeout=100) for process in waiting]
    assert [process.returncode for process in waiting] == [0] * 20, results
    assert len({out for out, _ in results}) == 20
    log = (served.home / "server.log").read_text()
    assert log.count(" serving ") == 1, log


def test_a_home_with_a_path_over_107_bytes_works(served: Shell, tmp_path: Path) -> None:
    served.variables["LAB_HOME"] = str(tmp_path / ("d" * 100) / ("e" * 60))
    served.home = Path(served.variables["LAB_HOME"])
    served.home.parent.mkdir()
    served.lab("run", "--quiet", "--", "true")


def test_a_home_that_is_not_ours_is_left_alone(served: Shell) -> None:
    served.home.mkdir()
    (served.home / "thesis.tex").write_text("x")
    refusal = json.loads(served.lab("queue", "--json", "--", "true", status=3).stdout)
    assert refusal["error"]["code"] == "home_unusable"
    assert [path.name for path in served.home.iterdir()] == ["thesis.tex"]


def test_the_server_inherits_nothing_from_the_first_command(served: Shell) -> None:
    with (served.project / "marker").open("w") as marker:
        subprocess.run(
            [*LAB, "queue", "--quiet", "--", "true"],
            cwd=served.project,
            env=served.variables | {"PYTHONPATH": "/nowhere", "SECRET": "s"},
            pass_fds=(marker.fileno(),),
            capture_output=True,
            check=True,
        )
    process = Path(f"/proc/{served.server_pid()}")
    assert b"SECRET" not in (process / "environ").read_bytes()
    assert (process / "cwd").readlink() == Path("/")
    held = [str(descriptor.readlink()) for descriptor in (process / "fd").iterdir() if descriptor.is_symlink()]
    assert not [name for name in held if "marker" in name or "labrun-server-start" in name]
    assert (process / "fd/2").readlink() == served.home / "server.log"


def test_labrun_installed_from_a_clone_is_no_news_but_recorded(shared: Shell) -> None:
    shared.write("hello.py", "print('hello')\n")
    told = shared.lab("queue", "--name", "clone", "hello.py", VIRTUAL_ENV=sys.prefix)
    assert "not frozen" not in told.stderr
    shared.lab("wait", "clone")
    manifest = json.loads((Path(shared.experiment("clone")["folder"]) / "run_manifest.json").read_text())
    ours = Path(__file__).parents[2]
    assert [one["path"] for one in manifest["code"]["not_frozen"]] == [str(ours)]


def test_an_editable_install_of_somebody_else_is_told_even_where_labrun_lies_below_it(
    shared: Shell, tmp_path: Path
) -> None:
    shared.write("hello.py", "print('hello')\n")
    around = Path(__file__).parents[3]  # a project that keeps its environment, and labrun in it, in its own folder
    python = make_environment(tmp_path / "venv")
    for name, location in (("theirs", tmp_path / "theirs"), ("around", around), ("labrun", Path(__file__).parents[2])):
        location.mkdir(exist_ok=True)
        install(site_of(python), name, "1.0", direct=editable(location))
    told = shared.lab("queue", "--name", "theirs", "hello.py", VIRTUAL_ENV=str(tmp_path / "venv"))
    (line,) = [line for line in told.stderr.splitlines() if "editable install" in line]
    named = {path.removesuffix(" (uncommitted changes)") for path in line.split("not frozen: ")[1].split(", ")}
    assert named == {str(tmp_path / "theirs"), str(around)}
