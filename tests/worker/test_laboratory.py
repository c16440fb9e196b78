"""A resumed experiment is one experiment: open, in every list, under every name, before and after a restart."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labrun.core.errors import NotFound
from labrun.store.folder import Folder
from labrun.store.index import Index
from labrun.worker import lookup
from labrun.worker.floor import Floor
from labrun.worker.present import view
from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest, journal
from tests.worker.test_floor import opened

EXPERIMENTS = "/v1/labs/main/experiments"


def labels(lab: LaboratoryUnderTest, query: str) -> list[str]:
    page = lab.call("GET", f"{EXPERIMENTS}?{query}")
    return [shown["label"] for shown in page["experiments"]]


def check_the_resumed_one(lab: LaboratoryUnderTest) -> None:
    for reference in ("EXP-003", "third"):
        shown: dict[str, Any] = lab.show(reference)["experiment"]
        assert (shown["label"], shown["status"], shown["attempt"]) == ("EXP-003", "processing", 2), reference
    assert labels(lab, "status=failed&limit=2") == ["EXP-002", "EXP-001"], "the page ended early"
    assert labels(lab, "status=failed&limit=1&before=EXP-002") == ["EXP-001"]
    assert labels(lab, "status=processing") == ["EXP-004", "EXP-003"]
    assert labels(lab, "limit=10") == ["EXP-004", "EXP-003", "EXP-002", "EXP-001"]
    assert labels(lab, "limit=10&name=third") == ["EXP-003"]
    assert lab.show("latest~1")["experiment"]["label"] == "EXP-003"
    status = lab.call("GET", "/v1/labs/main/status")
    assert status["counts"] == {"failed": 2, "processing": 2}
    assert status["waiting_count"] == 1
    assert [shown["label"] for shown in status["ended"]] == ["EXP-002", "EXP-001"]


def test_a_resumed_experiment_that_waits_is_found_by_its_folder(tmp_path: Path) -> None:
    experiment, floor, index = opened(7), Floor(), Index.open(tmp_path / "index.sqlite")
    experiment.folder = Folder(tmp_path / "labs/main/2026-11/EXP-007-planck")
    over = view(experiment.story, folder=str(experiment.folder.path), is_sealed=True)
    index.apply([over], consumed={})
    parts: Any = SimpleNamespace(floor=floor, index=index)
    path = str(experiment.folder.path / "work/sub")
    assert lookup.find(parts, path, "main") == over
    floor.add(experiment)
    assert lookup.find(parts, path, "main") is experiment, "what it was is shown for what it is"
    index.remove(experiment.run_id)
    assert lookup.find(parts, path, "main") is experiment
    with pytest.raises(NotFound):
        lookup.find(parts, str(tmp_path / "elsewhere/EXP-007-planck"), "main")
    index.close()


def test_a_resumed_experiment_that_waits_is_shown_as_open_everywhere(lab: LaboratoryUnderTest) -> None:
    for name in ("first", "second", "third"):
        ended = lab.wait_ended(lab.submit("/bin/false", name=name)["run_id"])
    blocker = lab.submit("/bin/sleep", "1000")["run_id"]
    wait_until(lambda: lab.show(blocker)["experiment"]["step"] == "running", 20, "it runs")
    lab.call("POST", f"{EXPERIMENTS}/EXP-003/resume", {"by": "ada", "variables": {}})
    check_the_resumed_one(lab)
    lab.kill()
    lab.start()
    check_the_resumed_one(lab)

    lab.call("POST", f"{EXPERIMENTS}/EXP-003/cancel", {"by": "ada"})
    assert lab.call("GET", "/v1/labs/main/status")["counts"] == {"failed": 2, "processing": 1, "cancelled": 1}
    (line,) = journal(lab.home / "labs/main/cancelled.jsonl")
    assert (line["run_id"], line["experiment"]["attempt"]) == (ended["run_id"], 2)
    assert labels(lab, "status=cancelled") == ["EXP-003"]
