"""The doctor names what is wrong and what to do, and is content with a healthy home."""

from pathlib import Path
from typing import Any

from tests.scenarios.laboratory import LaboratoryUnderTest


def findings(lab: LaboratoryUnderTest) -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in lab.call("GET", "/v1/doctor")["findings"]}


def one_sealed(tmp_path: Path) -> tuple[LaboratoryUnderTest, Path]:
    lab = LaboratoryUnderTest(tmp_path / "home")
    lab.start()
    ended = lab.wait_ended(lab.submit("/bin/true")["run_id"])
    return lab, lab.folder(ended)


def test_a_healthy_home_has_a_whole_chain(tmp_path: Path) -> None:
    lab, _ = one_sealed(tmp_path)
    try:
        found = findings(lab)
        assert found["chain of lab main"] == {
            "check": "chain of lab main",
            "is_good": True,
            "text": "whole",
            "hint": None,
        }
        assert found["python"]["is_good"]
    finally:
        lab.stop()


def test_a_seal_that_was_edited_is_named_with_a_hint(tmp_path: Path) -> None:
    lab, folder = one_sealed(tmp_path)
    try:
        seal = folder / "attempts/1/seal.json"
        seal.write_bytes(seal.read_bytes().replace(b'"attempt": 1', b'"attempt": 2'))
        found = findings(lab)["chain of lab main"]
        assert not found["is_good"]
        assert folder.name in found["text"]
        assert found["hint"]
    finally:
        lab.stop()


def test_every_finding_that_is_bad_says_what_to_do(tmp_path: Path) -> None:
    lab, _ = one_sealed(tmp_path)
    try:
        assert [check for check, found in findings(lab).items() if not found["is_good"] and not found["hint"]] == []
    finally:
        lab.stop()
