import re

import pytest

from tests.cli.conftest import LAB, Shell
from tests.cli.window import Window

pytestmark = pytest.mark.timeout(120)


def test_experiments_are_listed_newest_first_in_pages(shared: Shell) -> None:
    labels = [shared.queue("--name", f"fit {i}", "--", "true") for i in range(5)]
    failed = shared.queue("--name", "broken", "--", "false")
    shared.lab("wait", *labels, failed, status=1)
    assert shared.lab("list", "--quiet").stdout.split() == [failed, *reversed(labels)]
    page = shared.json("list", "--limit", "2")
    assert [one["label"] for one in page["experiments"]] == [failed, labels[-1]]
    assert shared.lab("list", "--quiet", "--limit", "2", "--before", page["next"]).stdout.split() == labels[3:1:-1]
    assert shared.lab("list", "--quiet", "--status", "failed").stdout.split() == [failed]
    assert shared.lab("list", "--quiet", "--name", "fit 3").stdout.split() == [labels[3]]
    row = shared.lab("list", "--limit", "1").stdout.split()
    assert row[:2] == [failed, "failed"]


def test_an_empty_answer_is_said_to_people_only(shared: Shell) -> None:
    done = shared.lab("list", "--lab", "elsewhere")
    assert (done.stdout, done.stderr) == ("", "no experiments in lab `elsewhere`\n")
    assert shared.json("list", "--lab", "elsewhere")["experiments"] == []


def test_experiments_are_found_by_what_is_known_of_them(shell: Shell) -> None:
    script = shell.write(
        "fit.py", "import sys\nfrom labrun import log_metric\nlog_metric('loss', float(sys.argv[1]))\n"
    )
    near = shell.queue("--tag", "sky", "--tag", "dr4", "--group", "priors", "--note", "Wider prior", script, "0.2")
    far = shell.queue("--tag", "sky", "--hypothesis", "flat space", script, "0.9")
    shell.lab("wait", near, far)

    def found(*options: str) -> list[str]:
        return shell.lab("list", "--quiet", *options).stdout.split()

    assert found("--tag", "sky") == [far, near]
    assert found("--tag", "sky", "--tag", "dr4") == found("--group", "priors") == found("--note", "wider") == [near]
    assert found("--note", "flat") == found("--metric", "loss>=0.5") == [far]
    assert found("--metric", "loss<0.5", "--tag", "sky", "--since", "1h") == [near]
    assert found("--since", "2099-01-01") == found("--user", "nobody-here") == []
    assert found("--sort", "loss") == [near, far]
    assert found("--sort", "-loss") == found("--sort", "newest") == [far, near]
    assert found("--sort", "oldest") == [near, far]
    rows = shell.lab("list", "--columns", "label,loss,tags,note").stdout.splitlines()
    assert [row.split() for row in rows] == [[far, "0.9", "sky", "-"], [near, "0.2", "sky,dr4", "Wider", "prior"]]
    with_header = shell.lab("list", "--header", "--columns", "label,loss").stdout.splitlines()
    assert [row.split() for row in with_header] == [["label", "loss"], [far, "0.9"], [near, "0.2"]]
    shell.lab("reindex")
    assert found("--metric", "loss<0.5", "--tag", "dr4") == [near]


def test_chosen_columns_are_named_on_a_terminal_and_bare_in_a_pipe(shared: Shell) -> None:
    shared.lab("run", "--quiet", "--name", "one", "--", "true")

    def seen(*options: str) -> str:
        window = Window([*LAB, "list", "--limit", "1", *options], shared.project, shared.variables)
        try:
            assert window.wait_exit() == 0
            return re.sub("\x1b\\[[0-9]*m", "", window.text)
        finally:
            window.close()

    assert seen("--columns", "status,name").split()[:2] == ["status", "name"]
    assert "status" not in seen("--columns", "status,name", "--no-header")
    assert "status" not in seen(), "the usual columns explain themselves"
    assert "label" in seen("--header")
    assert "status" not in shared.lab("list", "--columns", "status,name").stdout


def test_an_order_is_that_of_the_whole_lab_page_by_page(shell: Shell) -> None:
    script = shell.write(
        "fit.py", "import sys\nfrom labrun import log_metric\nlog_metric('loss', float(sys.argv[1]))\n"
    )
    losses = {shell.queue("--name", name, script, loss): float(loss) for name, loss in zip("cBa", "132", strict=True)}
    shell.lab("wait", *losses)
    last = shell.queue("--", "sleep", "1000")

    def paged(*options: str) -> list[str]:
        found, more = list[str](), list[str]()
        while True:
            page = shell.json("list", "--limit", "2", *options, *more)
            found += [one["label"] for one in page["experiments"]]
            if page["next"] is None:
                return found
            more = ["--before", page["next"]]

    shell.lab("wait", "--timeout", "0.1s", last, status=1)
    by_loss = sorted(losses, key=losses.__getitem__)
    assert paged("--sort", "loss") == by_loss, "what has none is left out"
    assert paged("--sort=-loss") == by_loss[::-1]
    assert paged("--sort", "oldest") == [*losses, last]
    assert paged("--sort", "name") == [*losses][::-1], "upper and lower case are the same"
    assert paged("--sort", "longest")[0] == last, "what runs counts by how long it runs"
    assert len(paged("--sort", "longest")) == 4
    shell.lab("delete", by_loss[1])
    told = shell.lab("list", "--sort", "loss", "--before", by_loss[1], status=2).stderr
    assert by_loss[1] in told
    shell.lab("cancel", last)


def test_what_waits_is_found_too(shell: Shell) -> None:
    blocker = shell.queue("--", "sleep", "1000")
    waiting = shell.queue("--tag", "later", "--note", "after the blocker", "--", "true")
    assert shell.lab("list", "--quiet", "--tag", "later", "--note", "blocker").stdout.split() == [waiting]
    shell.lab("cancel", waiting, blocker)
    assert shell.lab("list", "--quiet", "--tag", "later").stdout.split() == [waiting]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--metric", "loss"], "val_loss<0.3"),
        (["--metric", "loss<low"], "val_loss<0.3"),
        (["--since", "yesterday"], "2026-11-20"),
        (["--since", "3x"], "3x"),
        (["--sort", "beauty"], "beauty"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(shared: Shell, options: list[str], word: str) -> None:
    shared.lab("wait", shared.queue("--", "true"))
    assert word in shared.lab("list", *options, status=2).stderr
