"""A lab on another machine through a real ssh: the same commands, and a cable that is cut at every point.

Nothing is lost and nothing runs twice, whatever was under way when the cable was cut. The negative control
is a client that makes a new idempotency key for each try; the same cuts must show it doubling.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import LAB as BOX_LAB
from tests.box import Box, Cable, a_box
from tests.cli.conftest import LAB, Shell
from tests.cli.window import Window
from tests.helpers import wait_until
from tests.scenarios.laboratory import broken_build

CUTS = int(os.environ.get("LABRUN_TEST_CUTS", "8"))
pytestmark = pytest.mark.timeout(600)

TRAIN = """\
import os, sys, time
print("hello", *sys.argv[1:], flush=True)
with open(os.path.join(os.environ["LAB_OUTPUT_PATH"], "result.txt"), "w") as file:
    file.write("42\\n")
print("warned", file=sys.stderr)
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
"""
COUNT = """\
import sys, time
for i in range(300):
    print("line", i, flush=True)
    time.sleep(0.01)
"""


class Laptop(Shell):
    """A shell on this machine whose lab is on the box."""

    def __init__(self, folder: Path, box: Box, cable: Cable) -> None:
        super().__init__(folder)
        self.box, self.cable = box, cable
        self.variables |= box.reach("127.0.0.1", cable.port)
        self.write("train.py", TRAIN)
        self.write("count.py", COUNT)

    def on_the_box(self, *args: str) -> str:
        """The same command typed there."""
        variables = {"PATH": self.variables["PATH"], "LAB_HOME": str(self.box.home), "HOME": self.variables["HOME"]}
        done = subprocess.run([*LAB, *args], env=variables, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def known(self) -> list[str]:
        """Labels the box knows."""
        return [one["label"] for one in json.loads(self.on_the_box("list", "--json", "--limit", "500"))["experiments"]]

    def forget_line(self) -> None:
        """End the line that ssh keeps: the next command makes a new one."""
        for socket in (self.box.folder / "run/labrun").glob("*"):
            subprocess.run(
                [shutil.which("ssh") or "ssh", "-o", f"ControlPath={socket}", "-O", "exit", "box"],
                capture_output=True,
                check=False,
            )


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    folder = tmp_path_factory.mktemp("m")
    with a_box(folder / "box") as (box, cable):
        found = Laptop(folder, box, cable)
        found.lab("init", LAB_HOST="local", LAB_HOME=str(box.home))
        (box.home / "home.toml").write_text("slots = 4\n[pods.small]\ncpus = 1\n")
        found.lab("status")  # what a server has to say is said here, once
        yield found


@pytest.fixture(autouse=True)
def mended(laptop: Laptop) -> Iterator[None]:
    yield
    laptop.cable.mend()


def test_a_script_runs_there_as_it_would_here(laptop: Laptop) -> None:
    done = laptop.lab("run", "--name", "far", "train.py", "3", "x y", status=3)
    assert done.stdout == "hello 3 x y\n"
    assert "warned\n" in done.stderr
    assert f"files: box:{laptop.box.home}/labs/main/" in done.stderr
    shown = laptop.json("info", "far")
    assert shown["source_root"] == f"{os.uname().nodename}:{laptop.project}"
    folder = Path(shown["experiment"]["folder"])
    assert folder.is_relative_to(laptop.box.home)
    assert (folder / "outputs/result.txt").read_text() == "42\n"
    assert json.loads((folder / "submitted/submitted_from.json").read_text())["machine"]["host"]
    assert json.loads((folder / "submitted/environment.json").read_text())["python"]["version"]
    assert f"on {os.uname().nodename}" in (folder / "README.md").read_text()
    assert not laptop.home.exists(), "nothing of it is done here"


def test_what_runs_there_is_what_would_run_here(laptop: Laptop) -> None:
    (laptop.project / "tool").write_text("#!/bin/sh\necho tool\n")
    (laptop.project / "tool").chmod(0o755)
    (laptop.project / "link").symlink_to("tool")
    (laptop.project / "crlf.txt").write_bytes(b"a\r\nb\xff\n")
    (laptop.project / ".env").write_text("TOKEN=1\n")
    far = laptop.lab("run", "./tool")
    assert far.stdout == "tool\n"
    assert "left out, it looks like credentials: .env" in far.stderr
    here = Shell.__new__(Shell)
    here.__dict__.update(laptop.__dict__)
    near = json.loads(laptop.lab("queue", "--json", "./tool", LAB_HOST="local").stdout)["experiment"]
    laptop.lab("wait", near["label"], LAB_HOST="local")
    assert laptop.json("info", "latest")["tree"] == near["tree"]
    laptop.lab("server", "stop", LAB_HOST="local")
    shutil.rmtree(laptop.home)


def test_an_unchanged_project_is_not_sent_again(laptop: Laptop) -> None:
    (laptop.project / "large.bin").write_bytes(os.urandom(6 * 2**20))
    laptop.lab("queue", "train.py")
    packs = laptop.box.home / "store/code.git/objects/pack"

    def stored() -> int:
        return sum(path.stat().st_size for path in packs.glob("*.pack"))

    before = stored()
    laptop.lab("queue", "train.py", "1")
    assert stored() - before < 4096, "only what the box writes of its own environment"
    laptop.write("train.py", TRAIN + "# changed\n")
    laptop.lab("queue", "train.py")
    assert stored() - before < 16384
    (laptop.project / "large.bin").unlink()
    laptop.write("train.py", TRAIN)


def test_code_below_src_is_imported_from_the_copy(laptop: Laptop) -> None:
    (laptop.project / "src/far_package").mkdir(parents=True)
    (laptop.project / "src/far_package/__init__.py").write_text("WHERE = __file__\n")
    laptop.write("where.py", "import far_package\nprint(far_package.WHERE)\n")
    done = laptop.lab("run", "where.py", PYTHONPATH=str(laptop.project / "src"))
    assert "/work/src/far_package/__init__.py" in done.stdout
    shutil.rmtree(laptop.project / "src")


def test_every_word_reaches_the_lab_there(laptop: Laptop) -> None:
    label = laptop.queue("--tag", "far", "--pod", "small", "train.py", "1")
    assert laptop.lab("wait", label, status=1)
    assert label in laptop.lab("status").stdout
    assert label in laptop.lab("list", "--tag", "far").stdout
    assert laptop.lab("logs", label).stdout == "hello 1\n"
    laptop.lab("note", label, "seen from afar")
    laptop.lab("outcome", label, "refutes", "--outcome", "no")
    assert "seen from afar" in laptop.lab("info", label).stdout
    assert laptop.lab("metrics", label).returncode == 0
    again = json.loads(laptop.lab("requeue", label, "--json", "--replace", "--", "0").stdout)
    assert laptop.lab("wait", again["accepted"]["experiment"]["label"]).returncode == 0
    assert laptop.lab("resume", label).stdout.startswith(f"{label} goes on")
    laptop.lab("wait", label, status=1)
    assert "script: train.py" in laptop.lab("clone", label).stdout
    assert label in laptop.lab("tree", label).stdout
    laptop.lab("delete", label)
    laptop.lab("undelete", label)
    assert "all good" in laptop.lab("doctor").stdout or "host: box" in laptop.lab("doctor", status=1).stdout
    assert laptop.lab("open", label).stdout.startswith(f"box:{laptop.box.home}")
    running = laptop.queue("--", "sleep", "1000")
    laptop.wait_step(running, "running")
    laptop.lab("cancel", running)


def test_variables_and_data_are_those_of_the_box(laptop: Laptop, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("1\n")
    laptop.write("look.py", "import os\nprint(os.environ.get('ONLY_HERE'), os.environ.get('GIVEN'), os.getcwd())\n")
    done = laptop.lab("run", "--env", "GIVEN=yes", "--input", f"d={data}", "look.py", ONLY_HERE="1")
    assert done.stdout.startswith("None yes ")
    config = laptop.write("c.toml", "a = 1\n")
    laptop.lab("run", "--config", config, "--stdin", "--", "cat")
    folder = Path(laptop.experiment("latest")["folder"])
    assert (folder / "submitted/config/c.toml").read_text() == "a = 1\n"


def test_commands_about_the_home_run_on_the_machine_of_the_home(laptop: Laptop) -> None:
    before = json.loads(laptop.on_the_box("server", "status", "--json"))
    assert json.loads(laptop.lab("server", "status", "--json").stdout)["pid"] == before["pid"]
    assert f"was {before['pid']}" in laptop.lab("server", "restart").stderr
    after = json.loads(laptop.on_the_box("server", "status", "--json"))
    assert after["pid"] != before["pid"]
    assert laptop.lab("server", "stop", "--quiet").stdout == ""
    assert "no server runs for" in laptop.lab("server", "status", status=1).stderr, "the status is the one from there"
    assert laptop.lab("init").stdout == f"home: {laptop.box.home}\n"
    laptop.lab("serve", "--detach")
    assert json.loads(laptop.on_the_box("server", "status", "--json"))["pid"] != after["pid"]
    away = laptop.lab("server", "status", status=3, LAB_HOST="ssh://127.0.0.1:1").stderr
    assert "cannot be reached" in away
    gone = laptop.lab("server", "status", status=3, LAB_HOST="ssh://box?lab=/nowhere/lab").stderr
    assert "`/nowhere/lab` is not found there" in gone


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--live", "train.py"], "does not see this machine's files"),
        (["run", "--input", "d=train.py", "train.py"], "an absolute path on box"),
        (["run", "--python", "python3", "train.py"], "an absolute path on box"),
        (["run", "--python", "/no/such/python", "train.py"], "there is no such Python"),
        (["run", "--pod", "huge", "train.py"], "small"),
        (["queue", "no_such.py"], "there is no such file"),
        (["status", "--host", "box"], "stands before the command"),
        (["pull", "EXP-9999"], "EXP-9999"),
    ],
)
def test_what_makes_no_sense_from_afar_is_refused(laptop: Laptop, words: list[str], said: str) -> None:
    before = laptop.known()
    done = laptop.lab(*words, status=1 if words[0] == "pull" else 2)
    assert said in done.stderr
    assert laptop.known() == before


def test_a_folder_that_is_not_uploaded_is_no_place_to_run_in(laptop: Laptop, tmp_path: Path) -> None:
    done = laptop.lab("run", str(laptop.project / "train.py"), status=2, cwd=tmp_path)
    assert f"a folder below {laptop.project}" in done.stderr
    bare = tmp_path / "bare"
    bare.mkdir()
    done = laptop.lab("run", "--", "sh", "-c", "ls -A", cwd=bare)
    assert done.stdout == ""
    assert "it runs in an empty folder" in done.stderr


@pytest.mark.parametrize(
    ("host", "code", "said"),
    [
        ("ssh://box?lab=/no/such/lab", "host_without_lab", "`/no/such/lab` is not found there"),
        ("ssh://box?lab=/bin/true", "host_without_lab", "by hand"),
        ("ssh://nobody-here@box", "host_unreachable", "Permission denied"),
        ("ssh://no.such.host.invalid", "host_unreachable", "resolve"),
        ("-oProxyCommand=touch${IFS}x", "bad_value", "ssh://user@box:port"),
        ("ssh://box/path", "bad_value", "ssh://user@box:port"),
        ("http://box", "bad_value", "ssh://user@box:port"),
    ],
)
def test_a_box_that_cannot_be_used_is_said(laptop: Laptop, host: str, code: str, said: str) -> None:
    done = laptop.lab("list", "--json", status=2 if code == "bad_value" else 3, LAB_HOST=host)
    problem = json.loads(done.stdout)["error"] if done.stdout else json.loads(done.stderr)
    assert problem["code"] == code
    assert said in f"{problem['message']} {problem['hint']}"


def test_a_home_there_that_is_not_ours_is_said_in_its_own_words(laptop: Laptop, tmp_path: Path) -> None:
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange/file").touch()
    strange = f"ssh://box?lab={Path(sys.executable).with_name('lab')}&home={tmp_path}/strange"
    done = laptop.lab("list", status=3, LAB_HOST=strange)
    assert "on `box`: " in done.stderr


def test_the_tab_key_asks_the_box_and_does_not_wait_for_one_that_is_away(laptop: Laptop) -> None:
    label = laptop.queue("--name", "for-the-tab-key", "train.py")
    asked = {"_LAB_COMPLETE": "bash_complete", "COMP_WORDS": "lab info ", "COMP_CWORD": "2"}
    assert label in laptop.lab(**asked).stdout
    away = laptop.lab(**asked, LAB_HOST="ssh://no.such.host.invalid")
    assert (away.stdout.strip(), away.stderr) == ("", "")


def test_settings_say_which_machine_and_who_said_so(laptop: Laptop) -> None:
    assert re.search(r"host +ssh://box +\$LAB_HOST", laptop.lab("settings").stdout)
    shown = laptop.lab("--host", "ada@other", "settings").stdout
    assert re.search(r"host +ada@other +--host", shown)


def test_a_noisy_login_is_no_hindrance(laptop: Laptop) -> None:
    """A `.bashrc` that prints something, in front of the lab."""
    noisy = laptop.box.folder / "noisy"
    noisy.write_text(f'#!/bin/sh\necho "Welcome to the machine"; printf "no newline "; echo\nexec {BOX_LAB} "$@"\n')
    noisy.chmod(0o755)
    assert laptop.lab("list", LAB_HOST=f"ssh://box?lab={noisy}").returncode == 0


def test_a_box_that_lies_about_its_lab_is_found_out(laptop: Laptop) -> None:
    for name, answer in {"garbage": "yes '' | head -c 20000000", "broken": "echo LABRUN nonsense"}.items():
        liar = laptop.box.folder / name
        liar.write_text(f"#!/bin/sh\n{answer}\n")
        liar.chmod(0o755)
        done = laptop.lab("list", status=3, LAB_HOST=f"ssh://box?lab={liar}")
        assert "no lab answers on `box`" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_cut_in_the_output_shows_every_line_once(laptop: Laptop) -> None:
    seen = laptop.project / "seen"
    with seen.open("wb") as sink:
        running = laptop.start("run", "count.py", stdout=sink)
        wait_until(seen.read_bytes, 30, "the first line is here")
        for _ in range(3):
            time.sleep(0.5)  # somewhere in the output is the point
            laptop.cable.cut()
            time.sleep(0.2)  # long enough for the client to notice
            laptop.cable.mend()
        _, err = running.communicate(timeout=120)
    assert seen.read_text() == "".join(f"line {i}\n" for i in range(300)), err
    assert running.returncode == 0


def test_ctrl_c_reaches_the_script_and_not_the_line(laptop: Laptop) -> None:
    laptop.write(
        "patient.py",
        "import time\nprint('ready', flush=True)\ntry:\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('cleaned up', flush=True)\n",
    )
    window = Window([*LAB, "run", "patient.py"], laptop.project, laptop.variables)
    window.wait("ready")
    window.type("\x03")
    assert window.wait_exit() == 0
    assert "cleaned up" in window.text
    window.close()


def test_leaving_at_the_password_question_leaves_a_terminal_that_shows_what_is_typed(laptop: Laptop) -> None:
    window = Window([*LAB, "--host", "box-password", "list"], laptop.project, laptop.variables)
    window.wait("password: ")
    wait_until(lambda: not window.has_echo(), 10, "what is typed is hidden")
    window.type("\x03")
    assert window.wait_exit() == 130
    assert window.has_echo()
    window.close()


def test_submits_at_the_same_time_do_not_spoil_each_other(laptop: Laptop, tmp_path: Path) -> None:
    fresh = laptop.variables | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    started = []
    for number in range(5):
        project = tmp_path / f"p{number}"
        project.mkdir()
        (project / "lab.toml").touch()
        (project / "t.py").write_text(f"print({number})\n")
        (project / "data.bin").write_bytes(os.urandom(4 * 2**20))
        command = [*LAB, "queue", "--quiet", "t.py"]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=project, env=fresh, stdin=pipe, stdout=pipe, stderr=pipe))
    for number, process in enumerate(started):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        laptop.lab("wait", out.decode().strip())
        assert laptop.lab("logs", out.decode().strip()).stdout == f"{number}\n"


def test_a_cache_that_is_damaged_can_be_removed(laptop: Laptop, tmp_path: Path) -> None:
    fresh = {"XDG_CACHE_HOME": str(tmp_path)}
    label = laptop.lab("queue", "--quiet", "train.py", **fresh).stdout.strip()
    packs = sorted((tmp_path / "labrun/code.git/objects/pack").glob("*.pack"))
    for pack in packs:
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:40])
    told = laptop.lab("restore", label, str(tmp_path / "again"), status=3, **fresh).stderr
    remedy = next(line.split("`")[1] for line in told.splitlines() if "it is a cache" in line)
    assert packs
    subprocess.run(["sh", "-c", remedy], check=True)
    laptop.lab("restore", label, str(tmp_path / "again"), **fresh)
    assert (tmp_path / "again/train.py").read_text() == TRAIN


def test_a_cache_that_cannot_be_written_to_is_said(laptop: Laptop) -> None:
    done = laptop.lab("queue", "train.py", status=2, XDG_CACHE_HOME="/dev/null")
    assert "$XDG_CACHE_HOME names another place" in done.stderr


def test_a_terminal_there_is_a_terminal_here(laptop: Laptop) -> None:
    laptop.write("ask.py", "print('you said', input('what? '))\n")
    window = Window([*LAB, "run", "-i", "ask.py"], laptop.project, laptop.variables)
    window.wait("what? ")
    window.type("hello\r")
    window.wait("you said hello")
    assert window.wait_exit() == 0
    window.close()


def cuts(laptop: Laptop, rounds: int, linger_s: float, source: Path | None = None) -> list[str]:
    """Submit again and again, the cable cut somewhere else each time; what is wrong."""
    variables = laptop.variables | ({} if source is None else {"PYTHONPATH": str(source)})
    wrong, whole = [], 0
    for number in range(rounds + 1):
        laptop.write("new.py", f"print({number}, {time.time()})\n")
        before = set(laptop.known())
        laptop.forget_line()
        carried = laptop.cable.carried_bytes
        at = random.randrange(whole) if whole else 0
        if whole:
            laptop.cable.cut_after(at, linger_s)
        process = subprocess.Popen(
            [*LAB, "queue", "--quiet", "new.py"],
            cwd=laptop.project,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        while process.poll() is None:
            if laptop.cable.is_cut:
                time.sleep(0.3)  # the client shall see it cut before it is mended
                laptop.cable.mend()
            time.sleep(0.02)  # between two looks at the cable
        out, err = process.communicate()
        laptop.cable.mend()
        whole = whole or laptop.cable.carried_bytes - carried
        fresh, told = set(laptop.known()) - before, out.decode().split()
        if (fresh if process.returncode else fresh ^ set(told)) or len(told) > 1:
            wrong.append(f"cut after {at} bytes: told {told}, there are {sorted(fresh)}: {err.decode()}")
    return wrong


@pytest.mark.parametrize("linger_s", [0.0, 0.5], ids=["at once", "answers lost first"])
def test_a_cut_anywhere_in_a_submit_loses_and_doubles_nothing(laptop: Laptop, linger_s: float) -> None:
    assert cuts(laptop, CUTS, linger_s) == []


def test_negative_control_a_key_for_each_try_is_caught(laptop: Laptop, tmp_path: Path) -> None:
    fresh = '{name: __import__("os").urandom(16).hex() for name in headers or {}}'
    broken = broken_build(
        tmp_path,
        ("client/remote.py", r"method, target, body, headers, timeout_s", f"method, target, body, {fresh}, timeout_s"),
    )
    assert any(cuts(laptop, 4, 0.5, broken) for _ in range(10))


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[str]:
    """A network namespace with an address of its own; removed with its cable."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and ip")
    name, near = f"lab{os.getpid() % 100000}", f"v{os.getpid() % 100000}"
    steps = [
        f"ip netns add {name}",
        f"ip link add {near} type veth peer name far netns {name}",
        f"ip addr add 10.231.77.1/30 dev {near}",
        f"ip link set {near} up",
        f"ip -n {name} addr add 10.231.77.2/30 dev far",
        f"ip -n {name} link set far up",
        f"ip -n {name} link set lo up",
    ]
    for step in steps:
        done = subprocess.run(step.split(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            subprocess.run(["ip", "netns", "del", name], check=False)
            pytest.skip(f"no network namespace here: {done.stderr}")
    yield f"{name} {near}"
    subprocess.run(["ip", "netns", "del", name], check=False)


def test_a_link_that_goes_down_under_a_running_experiment(tmp_path: Path, namespace: str) -> None:
    name, near = namespace.split()
    box = Box(tmp_path / "box", address="10.231.77.2", inside=("ip", "netns", "exec", name))
    try:
        shell = Shell(tmp_path)
        shell.variables |= box.reach("10.231.77.2", box.at[1])
        shell.write("count.py", COUNT.replace("0.01", "0.1"))
        running = shell.start("run", "count.py")
        wait_until(lambda: list(box.home.glob("control/*.started")), 30, "it runs there")
        time.sleep(1)  # somewhere in the output
        subprocess.run(["ip", "link", "set", near, "down"], check=True)
        time.sleep(30)  # longer than ssh waits for a sign of life
        subprocess.run(["ip", "link", "set", near, "up"], check=True)
        out, err = running.communicate(timeout=200)
        assert out.decode() == "".join(f"line {i}\n" for i in range(300)), err
        assert "is lost" in err.decode()
        assert "is there again" in err.decode()
        assert len(json.loads(shell.lab("list", "--json").stdout)["experiments"]) == 1
    finally:
        box.stop()


def test_a_pull_that_is_cut_goes_on(laptop: Laptop, tmp_path: Path) -> None:
    laptop.write(
        "write.py",
        "import os\nfor i in range(4):\n"
        "    open(os.path.join(os.environ['LAB_OUTPUT_PATH'], f'{i}.bin'), 'wb').write(os.urandom(3 * 2**20))\n",
    )
    label = laptop.queue("write.py")
    laptop.lab("wait", label)
    process = laptop.start("pull", label, "outputs/*", "-o", str(tmp_path / "here"))
    wait_until(lambda: list((tmp_path / "here").rglob("*.bin")) or process.poll() is not None, 30, "one is here")
    laptop.cable.cut()
    time.sleep(0.3)  # the client shall see it cut before it is mended
    laptop.cable.mend()
    process.communicate(timeout=60)
    assert process.returncode == 0
    folder = Path(laptop.experiment(label)["folder"])
    for path in folder.glob("outputs/*.bin"):
        assert (tmp_path / "here/outputs" / path.name).read_bytes() == path.read_bytes()
    assert "0 files" in laptop.lab("pull", label, "outputs", "-o", str(tmp_path / "here")).stdout


def test_code_comes_back_to_this_machine(laptop: Laptop, tmp_path: Path) -> None:
    laptop.write("deep.py", "print('deep')\n")
    (laptop.project / "large.bin").write_bytes(os.urandom(9 * 2**20))
    label = laptop.queue("deep.py")
    tree = laptop.json("info", label)["tree"]
    fresh = {"XDG_CACHE_HOME": str(tmp_path / "cache")}  # another laptop, which never had it
    done = laptop.lab("restore", label, str(tmp_path / "here"), **fresh)
    assert f"restored to {tmp_path}/here, tree {tree[:12]}" in done.stdout
    assert (tmp_path / "here/deep.py").read_text() == "print('deep')\n"
    assert (tmp_path / "here/large.bin").read_bytes() == (laptop.project / "large.bin").read_bytes()
    (laptop.project / "large.bin").unlink()
    assert "empty or new" in laptop.lab("restore", label, str(tmp_path / "here"), status=2, **fresh).stderr


def test_a_changed_host_key_is_named_as_that(laptop: Laptop) -> None:
    known = laptop.box.folder / "known"
    kept = known.read_text()
    kind, key = (laptop.box.folder / "id.pub").read_text().split()[:2]
    known.write_text(f"box {kind} {key}\n")
    laptop.forget_line()
    try:
        done = laptop.lab("status", status=3)
        assert "its host key is not the one it had" in done.stderr
        assert "ssh-keygen -R box" in done.stderr
    finally:
        known.write_text(kept)
