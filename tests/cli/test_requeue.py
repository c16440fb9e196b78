import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)

SCRIPT = """\
import os, pathlib, sys
print(sys.argv[1:])
(pathlib.Path(os.environ["LAB_OUTPUT_PATH"]) / "model.pt").write_text("weights")
for word in sys.argv[1:]:
    if word.startswith("--from="):
        print(pathlib.Path(word[7:]).read_text())
"""


@pytest.fixture(scope="module")
def old(shared: Shell) -> str:
    """An experiment that ended well and left a file."""
    label = shared.queue(shared.write("fit.py", SCRIPT), "--lr", "0.1", "data.csv")
    shared.lab("wait", label)
    return label


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ([], "--lr 0.1 data.csv --lr 0.2"),
        (["--append"], "--lr 0.1 data.csv --lr 0.2"),
        (["--merge"], "--lr 0.2 data.csv"),
        (["--replace"], "--lr 0.2"),
    ],
)
def test_each_mode_does_what_it_says(shared: Shell, old: str, mode: list[str], words: str) -> None:
    new = shared.lab("requeue", "--quiet", *mode, old, "--", "--lr", "0.2").stdout.strip()
    shared.lab("wait", new)
    assert shared.lab("logs", new).stdout == f"{words.split()}\n"
    assert shared.experiment(new)["parent"] == shared.experiment(old)["run_id"]


def test_everything_behind_two_dashes_is_the_scripts(shared: Shell, old: str) -> None:
    words = ["--merge", "--json", "-h", "--", "--stage", "x", ""]
    answer = shared.json("requeue", "--replace", "--dry-run", old, "--", *words)
    assert answer["after"][2:] == words


def test_a_dry_run_shows_both_command_lines_and_accepts_nothing(shared: Shell, old: str) -> None:
    before = shared.json("server", "status")["known"]
    lines = shared.lab("requeue", old, "--merge", "--dry-run", "--", "--lr", "0.2", "--new").stdout.splitlines()
    head, *words = lines
    assert head.split() == [old, "new,", "same", "code"]
    assert [line.split() for line in words[1:6]] == [
        ["fit.py", "fit.py"],
        ["--lr", "--lr"],
        ["0.1", "|", "0.2"],
        ["data.csv", "data.csv"],
        [">", "--new"],
    ]
    assert lines[-1] == "nothing was submitted"
    assert shared.json("server", "status")["known"] == before


def test_a_file_of_the_old_one_is_staged_for_the_new_one(shared: Shell, old: str) -> None:
    done = shared.lab("requeue", old, "--stage", "outputs/model.pt", "--note", "go on", "--", "--from={staged}")
    assert "lab: stages outputs/model.pt, 7 B" in done.stderr
    new = done.stdout.split()[0]
    shared.lab("wait", new)
    assert shared.lab("logs", new).stdout.endswith("weights\n")
    assert shared.experiment(new)["note"] == "go on"


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["--stage", "../x"], 2, "lies outside"),
        (["--stage", "model.pt", "--", "{staged}"], 2, "did you mean `outputs/model.pt`?"),
        (["--", "{staged}"], 2, "`{staged}` stands for no file"),
        (["--merge", "--append", "--", "x"], 2, "say one of them"),
        (["--merge", "--", "a", "b"], 1, "cannot be merged"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(
    shared: Shell, old: str, words: list[str], status: int, told: str
) -> None:
    assert told in shared.lab("requeue", old, *words, status=status).stderr


def test_without_two_dashes_an_option_is_ours_and_unknown(shared: Shell, old: str) -> None:
    assert "unknown option `--epochs`" in shared.lab("requeue", old, "--epochs", "5", status=2).stderr


def test_a_name_of_its_own_and_a_parent_by_its_label(shell: Shell) -> None:
    parent = shell.queue("--name", "rate-5", shell.write("fit.py", "pass\n"), "--rate", "5")
    shell.lab("wait", parent)
    shell.lab("requeue", parent, "--merge", "--name", "rate-0.5", "--", "--rate", "0.5")
    assert shell.experiment("latest")["name"] == "rate-0.5"
    assert f"follows from  {parent} rate-5\n" in shell.lab("info", "latest").stdout
    assert shell.json("info", "latest")["narrative"]["parent_run"] == shell.experiment(parent)["run_id"]
