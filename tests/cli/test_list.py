import pytest

from tests.cli.conftest import Shell

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
