"""What people say, through the API of a real server: in every state, at bad moments, and what is refused."""

import asyncio
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labrun.core.endings import Exited
from labrun.core.narrative import Annotation
from labrun.core.saying import AUTHOR_LIMIT, TEXT_LIMIT_BYTES
from labrun.store.code import CodeStore
from labrun.store.folder import Folder
from labrun.store.home import init_home
from labrun.store.index import Index
from labrun.store.notes import add_notes, waiting_notes
from labrun.store.seal import seal_batch
from labrun.worker.floor import Floor
from labrun.worker.narrate import catch_up, is_behind, recall
from labrun.worker.reindex import catch_up as catch_up_index
from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest, Refused, UnixConnection, journal
from tests.store.experiments import Experiment
from tests.worker.test_floor import opened

EXPERIMENTS = "/v1/labs/main/experiments"


def say(lab: LaboratoryUnderTest, reference: str, *remarks: dict[str, Any], author: str = "ada") -> dict[str, Any]:
    body = {"author": author, "remarks": list(remarks)}
    told: dict[str, Any] = lab.call("POST", f"{EXPERIMENTS}/{reference}/notes", body)
    return told


def noted(lab: LaboratoryUnderTest, reference: str) -> list[str]:
    told = lab.call("GET", f"{EXPERIMENTS}/{reference}/notes")
    assert told == lab.show(reference)["told"]
    return [each["text"] for each in told.get("annotations", [])]


def found(lab: LaboratoryUnderTest, word: str) -> list[str]:
    page = lab.call("GET", f"{EXPERIMENTS}?word={word}")
    return [shown["label"] for shown in page["experiments"]]


def manifest(shown: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path(shown["folder"], "run_manifest.json").read_bytes())
    return read


def test_said_before_during_and_after_it_stands_in_every_view(lab: LaboratoryUnderTest) -> None:
    spec = {"narrative": {"hypothesis": "it is flat"}}
    blocker = lab.submit("/bin/sleep", "1000")["run_id"]
    one = lab.submit("/bin/sleep", "1000", **spec)["run_id"]
    say(lab, one, {"text": "waits"}, {"text": "it is open", "field": "hypothesis"})
    assert found(lab, "waits") == ["EXP-002"]
    lab.call("POST", f"{EXPERIMENTS}/{blocker}/cancel", {"by": "ada"})
    wait_until(lambda: lab.show(one)["experiment"]["step"] == "running", 20, "it runs")
    say(lab, one, {"text": "runs"})
    lab.call("POST", f"{EXPERIMENTS}/{one}/cancel", {"by": "ada"})
    ended = lab.wait_ended(one)
    told = say(lab, one, {"text": "is over"}, {"verdict": "partial", "learnings": ["a"], "next_steps": ["b"]})
    assert [each["text"] for each in told["annotations"]] == noted(lab, one) == ["waits", "runs", "is over"]
    written = manifest(ended)
    assert [each["note"] for each in written["annotations"]] == ["waits", "runs", "is over"]
    narrative = written["narrative"]
    assert (narrative["hypothesis"], narrative["amendments"][0]["text"]) == ("it is flat", "it is open")
    assert (narrative["validation_status"], narrative["learnings"], narrative["next_steps"]) == (
        "partial",
        ["a"],
        ["b"],
    )
    lines = [line["entry"] for line in journal(Path(ended["folder"], "notes.jsonl"))]
    assert lines == ["annotation", "amendment", "annotation", "annotation", "conclusion"]
    assert found(lab, "over") == ["EXP-002"]
    assert [f for f in lab.call("GET", "/v1/doctor")["findings"] if not f["is_good"]] == []


def test_the_sealed_hypothesis_cannot_be_changed_by_a_note(lab: LaboratoryUnderTest) -> None:
    one = lab.wait_ended(lab.submit("/bin/true", narrative={"hypothesis": "flat"})["run_id"])
    seals = {path: path.read_bytes() for path in Path(one["folder"]).glob("attempts/1/*")}
    chain = (lab.home / "labs/main/chain.jsonl").read_bytes()
    before = manifest(one)
    say(lab, one["run_id"], {"text": "open", "field": "hypothesis"})
    assert {path: path.read_bytes() for path in Path(one["folder"]).glob("attempts/1/*")} == seals
    assert (lab.home / "labs/main/chain.jsonl").read_bytes() == chain
    assert lab.show(one["run_id"])["narrative"]["hypothesis"] == "flat"
    after = manifest(one)
    before["narrative"]["amendments"] = after["narrative"]["amendments"]
    assert after == before, "nothing else in the manifest was changed"


def test_a_kill_right_after_the_answer_loses_no_note(lab: LaboratoryUnderTest) -> None:
    lab.submit("/bin/sleep", "1000")
    waiting = lab.submit("/bin/true")["run_id"]
    for number in range(5):
        say(lab, waiting, {"text": f"number {number}"})
        lab.kill()
        lab.start()
        assert noted(lab, waiting) == [f"number {each}" for each in range(number + 1)]
        assert found(lab, str(number)) == ["EXP-002"], "lists know it again after the restart"


def test_one_that_was_cancelled_while_it_waited_keeps_its_notes_through_a_rebuilt_index(
    lab: LaboratoryUnderTest,
) -> None:
    lab.submit("/bin/sleep", "1000")
    one = lab.submit("/bin/true")["run_id"]
    say(lab, one, {"text": "early"})
    lab.call("POST", f"{EXPERIMENTS}/{one}/cancel", {"by": "ada"})
    assert found(lab, "early") == ["EXP-002"]
    say(lab, one, {"text": "belated"}, {"verdict": "inconclusive"})
    for _ in range(2):
        assert noted(lab, one) == ["early", "belated"]
        assert found(lab, "belated") == ["EXP-002"]
        assert lab.show(one)["experiment"]["verdict"] == "inconclusive"
        lab.call("POST", "/v1/reindex")


def test_notes_that_come_while_it_starts_ends_and_is_sealed_are_all_shown(lab: LaboratoryUnderTest) -> None:
    lab.submit("/bin/sleep", "0.5")
    runs = [lab.submit("/bin/true")["run_id"] for _ in range(12)]

    def talk(run: str) -> list[str]:
        texts = [f"remark {number} on it" for number in range(15)]
        for text in texts:
            say(lab, run, {"text": text})
        return texts

    with ThreadPoolExecutor(4) as pool:
        said = dict(zip(runs, pool.map(talk, runs), strict=True))
    for run in runs:
        shown = lab.wait_ended(run)
        assert noted(lab, run) == said[run]
        wait_until(lambda: lab.show(run)["experiment"]["remarks"].startswith("remark 14"), 10, "lists know")  # noqa: B023
        wait_until(lambda: len(manifest(shown)["annotations"]) == 15, 10, "the manifest has them all")  # noqa: B023
    assert list((lab.home / "store/notes").iterdir()) == []


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Any]:
    """What notes need of a worker."""
    home = init_home(tmp_path / "lab")
    made = SimpleNamespace(
        home=home, index=Index.open(home.index), floor=Floor(), notices=[], code=CodeStore(home.code)
    )
    yield made
    made.index.close()


NOTE = Annotation(at=datetime(2026, 11, 21, tzinfo=UTC), author="ada", text="between")


def test_a_note_that_came_between_views_and_seal_is_shown_afterwards(parts: Any) -> None:
    experiment = Experiment(parts.home.root, 1)
    (sealed,) = seal_batch([experiment.end(1, Exited(0))])
    catch_up_index(parts)
    assert not is_behind(experiment.folder)
    add_notes(parts.home, sealed.run_id, experiment.folder, (NOTE,))
    assert is_behind(experiment.folder)
    asyncio.run(catch_up(parts, sealed.run_id))
    assert [each["note"] for each in manifest({"folder": experiment.folder.path})["annotations"]] == ["between"]
    assert parts.index.get(sealed.run_id).remarks == "between"


def test_without_a_manifest_no_view_says_that_nothing_was_left_behind(parts: Any) -> None:
    experiment = Experiment(parts.home.root, 1)
    (sealed,) = seal_batch([experiment.end(1, Exited(0))])
    catch_up_index(parts)
    experiment.folder.manifest.unlink()
    add_notes(parts.home, sealed.run_id, experiment.folder, (NOTE,))
    asyncio.run(catch_up(parts, sealed.run_id))
    assert not experiment.folder.manifest.exists()
    assert parts.index.get(sealed.run_id).remarks == "between"


def test_a_note_written_beside_a_folder_that_came_meanwhile_follows_into_it(parts: Any) -> None:
    experiment = opened(1)
    parts.floor.add(experiment)
    add_notes(parts.home, experiment.run_id, None, (NOTE,))
    experiment.folder = Folder(parts.home.labs / "main/2026-11/EXP-001-x")
    experiment.folder.path.mkdir(parents=True)
    asyncio.run(catch_up(parts, experiment.run_id))
    assert experiment.said.annotations == (NOTE,)
    assert experiment.folder.notes.exists()
    assert not waiting_notes(parts.home, experiment.run_id).exists()


def test_after_a_restart_only_what_was_said_is_read(parts: Any) -> None:
    for number in (1, 2):
        parts.floor.add(opened(number))
    add_notes(parts.home, opened(2).run_id, None, (NOTE,))
    recall(parts)
    assert [len(each.said.annotations) for each in parts.floor] == [0, 1]


def test_a_resumed_experiment_keeps_what_was_said_of_its_first_attempt(lab: LaboratoryUnderTest) -> None:
    one = lab.wait_ended(lab.submit("/bin/false")["run_id"])["run_id"]
    say(lab, one, {"text": "first try"})
    blocker = lab.submit("/bin/sleep", "1000")["run_id"]
    wait_until(lambda: lab.show(blocker)["experiment"]["step"] == "running", 20, "the slot is taken")
    lab.call("POST", f"{EXPERIMENTS}/{one}/resume", {"by": "ada", "variables": {}})
    say(lab, one, {"text": "again"})
    assert [each["note"] for each in manifest(lab.show(one)["experiment"])["annotations"]] == ["first try", "again"]
    lab.call("POST", f"{EXPERIMENTS}/{blocker}/cancel", {"by": "ada"})
    ended = lab.wait_ended(one)
    assert [each["note"] for each in manifest(ended)["annotations"]] == noted(lab, one) == ["first try", "again"]


def test_a_deleted_experiment_shows_its_notes_and_takes_no_more(lab: LaboratoryUnderTest) -> None:
    one = lab.wait_ended(lab.submit("/bin/true")["run_id"])["run_id"]
    say(lab, one, {"text": "kept"})
    lab.call("POST", f"{EXPERIMENTS}/{one}/delete", {"by": "ada"})
    assert noted(lab, one) == ["kept"]
    with pytest.raises(Refused, match="undelete") as refusal:
        say(lab, one, {"text": "lost?"})
    assert refusal.value.code == "not_allowed_now"
    assert found(lab, "kept") == [], "it stays out of the lists"
    lab.call("POST", f"{EXPERIMENTS}/{one}/undelete", {"by": "ada"})
    assert noted(lab, one) == ["kept"]


def test_a_folder_that_is_gone_is_told_and_nothing_is_acknowledged(lab: LaboratoryUnderTest) -> None:
    shown = lab.wait_ended(lab.submit("/bin/true")["run_id"])
    Path(shown["folder"]).rename(lab.home / "elsewhere")
    with pytest.raises(Refused, match="not kept") as refusal:
        say(lab, shown["run_id"], {"text": "where?"})
    assert refusal.value.code == "store_damaged"
    assert not Path(shown["folder"]).exists()


@pytest.mark.parametrize(
    ("remarks", "author", "code"),
    [
        ([], "ada", "bad_value"),
        ([{}], "ada", "bad_value"),
        ([{"text": " \n"}], "ada", "bad_value"),
        ([{"text": "a\0b"}], "ada", "bad_value"),
        ([{"text": "x"}], "", "bad_value"),
        ([{"text": "x"}], "a\0", "bad_value"),
        ([{"text": "x"}], "a" * (AUTHOR_LIMIT + 1), "bad_value"),
        ([{"text": "x", "verdict": "refutes"}], "ada", "bad_value"),
        ([{"field": "hypothesis"}], "ada", "bad_value"),
        ([{"field": "status", "text": "succeeded"}], "ada", None),
        ([{"verdict": "perhaps"}], "ada", None),
        ([{"text": "x" * (TEXT_LIMIT_BYTES + 1)}], "ada", "too_big"),
        ([{"learnings": ["é" * (TEXT_LIMIT_BYTES // 4)] * 3}], "ada", "too_big"),
        ([{"text": "fine"}, {"text": ""}], "ada", "bad_value"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_note_is_refused_as_a_whole(
    asked: LaboratoryUnderTest, remarks: list[dict[str, Any]], author: str, code: str | None
) -> None:
    with pytest.raises(Refused) as refusal:
        say(asked, "EXP-001", *remarks, author=author)
    assert refusal.value.status in (400, 413, 422)
    assert refusal.value.code == code or code is None
    assert noted(asked, "EXP-001") == []


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryUnderTest]:
    """A laboratory with one experiment of which nothing is said."""
    found = LaboratoryUnderTest(tmp_path_factory.mktemp("asked") / "home")
    found.start()
    found.wait_ended(found.submit("/bin/true")["run_id"])
    yield found
    found.stop()


@pytest.mark.parametrize(
    "body",
    [
        b'{"author":"ada","remarks":[{"text":"\\ud800"}]}',
        b'{"author":"ada","remarks":[{"text":"\xff"}]}',
        b'{"author":"ada","remarks":[{"text":1}]}',
        b'{"author":"ada","remarks":[{"txt":"x"}]}',
        b'{"author":"ada"}',
        b"[]",
        b"",
        b'{"author":"ada","remarks":[{"text":"' + b"x" * 10_000_000 + b'"}]}',
    ],
    ids=lambda body: repr(body[:50]),
)
def test_a_body_that_is_no_note_is_answered_and_changes_nothing(asked: LaboratoryUnderTest, body: bytes) -> None:
    connection = UnixConnection(asked.home / "server.sock", 30)
    try:
        connection.request("POST", f"{EXPERIMENTS}/EXP-001/notes", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert 400 <= answer.status < 500, answer.read()
        assert json.loads(answer.read())["code"]
    except BrokenPipeError:
        assert len(body) > 8 << 20, "only what is far too long is not read to its end"
    finally:
        connection.close()
    assert noted(asked, "EXP-001") == []


def test_a_server_that_is_told_to_stop_has_every_note_it_acknowledged(lab: LaboratoryUnderTest) -> None:
    shown = lab.wait_ended(lab.submit("/bin/true")["run_id"])
    say(lab, shown["run_id"], {"text": "last word"})
    assert lab.server is not None
    lab.server.send_signal(signal.SIGTERM)
    lab.server.wait(20)
    (line,) = journal(Path(shown["folder"], "notes.jsonl"))
    assert line["text"] == "last word"
