"""Ten thousand experiments wait in one home while its server is killed: none lost, none twice, memory flat.

`LABRUN_TEST_SCALE` says how many (200 in the ordinary suite). Each script appends one line to a
ledger, so what ran is read outside of labrun.
"""

import os
import random
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest, broken_build, journal

SLOTS = 4
NIGHT = int(os.environ.get("LABRUN_TEST_SCALE", "10000"))


def submit(lab: LaboratoryUnderTest, ledger: Path, count: int) -> set[str]:
    """Hand them in on four connections, each until it is acknowledged; returns their run ids."""

    def one(number: int) -> str:
        argv = ["/bin/sh", "-c", f"echo n{number} >>{ledger}"]
        body = {
            "spec": {
                "target": {"kind": "program", "name": "sh", "argv": argv},
                "source": {"cwd": "/", "cwd_is_live": True},
            },
            "variables": {"PATH": "/usr/bin:/bin"},
        }
        answer = lab.call_stubbornly("POST", "/v1/labs/main/experiments", body, key=uuid.uuid4().hex)
        return str(answer["experiment"]["run_id"])

    with ThreadPoolExecutor(4) as pool:
        return set(pool.map(one, range(count)))


def sealed(lab: LaboratoryUnderTest) -> list[dict[str, Any]]:
    """Every line of the lab's chain, each checked."""
    chain = lab.home / "labs/main/chain.jsonl"
    return list(journal(chain)) if chain.exists() else []


def listed(lab: LaboratoryUnderTest) -> list[dict[str, Any]]:
    """Everything the lab lists, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = lab.call_stubbornly("GET", f"/v1/labs/main/experiments?limit=200{cursor}")
        found += page["experiments"]
        if page["next"] is None:
            return found
        cursor = f"&before={page['next']}"


def has_sealed(lab: LaboratoryUnderTest, count: int, patience_s: float) -> bool:
    """Wait until so many are sealed; False when that takes too long."""
    with suppress(AssertionError):
        wait_until(lambda: len(sealed(lab)) >= count, patience_s, f"{count} are sealed")
        return True
    return False


def violations(
    tmp_path: Path, count: int, kills: int, source: Path | None = None, patience_s: float = 600
) -> list[str]:
    """See so many through so many kills, and compare ledger, chain and list."""
    settings = f"slots = {SLOTS}\n"
    lab = LaboratoryUnderTest(tmp_path / "home", settings=settings, **({} if source is None else {"source": source}))
    ledger = tmp_path / "ledger"
    ledger.touch()
    lab.start()
    try:
        run_ids = submit(lab, ledger, count)
        for done in [*sorted(random.sample(range(count), kills)), count]:
            if not has_sealed(lab, done, patience_s):
                return [f"{len(sealed(lab))} of {count} were sealed, {len(ledger.read_text().split())} had run"]
            if done < count:
                lab.kill()
                lab.start()
        experiments = listed(lab)
        ran = Counter(ledger.read_text().split())
        return [
            *(f"{name} ran {times} times" for name, times in ran.items() if times != 1),
            *([] if len(ran) == count else [f"{len(ran)} of {count} ran"]),
            *([] if {one["run_id"] for one in experiments} == run_ids else ["the list is not what was acknowledged"]),
            *(f"{one['label']} ended {one['ending']}" for one in experiments if one["ending"] != "exited"),
            *([] if len({one["label"] for one in experiments}) == count else ["a label was given twice"]),
        ]
    finally:
        lab.stop()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("count", "kills"), [(200, 4), pytest.param(NIGHT, 40, marks=pytest.mark.night)], ids=["200", "night"]
)
def test_a_long_queue_comes_through_kills(tmp_path: Path, count: int, kills: int) -> None:
    assert violations(tmp_path, count, kills) == []


@pytest.mark.timeout(600)
def test_negative_control_a_restart_that_starts_again_what_it_finds_claimed_is_caught(tmp_path: Path) -> None:
    broken = broken_build(
        tmp_path,
        ("shim/supervise.py", r"os\.O_EXCL", "0"),
        ("worker/recover.py", r"if isinstance\(observation, Unstarted\):", "if True:"),
    )
    assert violations(tmp_path, 60, 10, broken, patience_s=20) != []
