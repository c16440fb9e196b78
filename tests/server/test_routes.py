"""The table of routes is the API: the OpenAPI document lists every one of them."""

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from labrun.server import transfer
from labrun.server.routes import ROUTES
from tests.scenarios.laboratory import LaboratoryUnderTest


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryUnderTest]:
    lab = LaboratoryUnderTest(tmp_path_factory.mktemp("routes") / "home")
    lab.start()
    yield lab
    lab.stop()


@pytest.fixture(scope="module")
def document(served: LaboratoryUnderTest) -> dict[str, Any]:
    found: dict[str, Any] = served.call("GET", "/schema/openapi.json")
    return found


def listed(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def test_the_document_lists_every_route_and_no_other(document: dict[str, Any]) -> None:
    routes = {
        (method, re.sub(r"\{(\w+):\w+\}", r"{\1}", path))
        for route in (*ROUTES, *transfer.ROUTES)
        for path in route.paths
        for method in route.http_methods
    }
    assert listed(document) == routes


def test_every_route_says_what_it_does_and_what_it_answers(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation.get("description") or operation.get("summary")
            assert any(status.startswith("2") for status in operation["responses"])


def test_the_document_knows_the_types_that_cross_the_api(document: dict[str, Any]) -> None:
    names = json.dumps(list(document["components"]["schemas"]))
    for name in ("Submit", "Spec", "Experiment", "ExperimentDetail", "StatusView", "Diagnosis"):
        assert name in names


def test_status_server_and_doctor_answer_on_an_empty_home(served: LaboratoryUnderTest) -> None:
    status = served.call("GET", "/v1/labs/main/status")
    assert (status["running"], status["waiting"], status["counts"]) == ([], [], {})
    assert status["capacity"]["slots_taken"] == 0
    assert served.call("GET", "/v1/server")["home"] == str(served.home)
    checks = {finding["check"] for finding in served.call("GET", "/v1/doctor")["findings"]}
    assert {"python", "sqlite", "disk", "memory limit", "git"} <= checks


def test_a_doctor_that_reads_for_long_holds_up_nobody(served: LaboratoryUnderTest) -> None:
    chain = served.home / "labs/slow/chain.jsonl"
    chain.parent.mkdir(parents=True)
    os.mkfifo(chain)
    with ThreadPoolExecutor(1) as pool:
        doctor = pool.submit(served.call, "GET", "/v1/doctor")
        descriptor = os.open(chain, os.O_WRONLY)  # returns once the doctor reads
        try:
            assert served.call("GET", "/v1/server", timeout_s=10)["home"] == str(served.home)
            assert not doctor.done()
        finally:
            os.close(descriptor)
            chain.unlink()
            chain.parent.rmdir()
        assert doctor.result(30)["findings"]


def test_the_list_is_cut_into_pages_that_miss_and_repeat_nothing(served: LaboratoryUnderTest) -> None:
    labels = [served.wait_ended(served.submit("/bin/true")["run_id"])["label"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        more = f"&before={cursor}" if cursor else ""
        page = served.call("GET", f"/v1/labs/main/experiments?limit=2{more}")
        seen += [shown["label"] for shown in page["experiments"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == labels[::-1]


def test_the_event_cursor_counts_lines_and_ends(served: LaboratoryUnderTest) -> None:
    shown = served.wait_ended(served.submit("/bin/true")["run_id"])
    path = f"/v1/labs/main/experiments/{shown['run_id']}/events"
    first = served.call("GET", f"{path}?after=0")
    assert [event["event"] for event in first["events"]][:2] == ["accepted", "dispatched"]
    rest = served.call("GET", f"{path}?after=2")
    assert rest["events"] == first["events"][2:]
    assert served.call("GET", f"{path}?after={first['next']}") == {
        "events": [],
        "next": first["next"],
        "is_over": True,
    }
