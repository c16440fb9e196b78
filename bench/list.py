"""Speed of lists: a page of 50 among many experiments, plain, filtered and sorted, through the API and the command.

Usage: python bench/list.py [page command] [--known N] [--dir DIR] [--rounds N]
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

from known import ENDED, FIRST
from measure import REPOSITORY, emit, machine, options, quantile, short, take_turns, timed, workplace
from msgspec import structs
from tests.scenarios.laboratory import LaboratoryUnderTest, UnixConnection

from labrun.store.index import Index
from labrun.wire.responses import Experiment

LAB = str(Path(sys.executable).with_name("lab"))
LIMIT = 50
QUERIES: dict[str, list[tuple[str, str]]] = {
    "plain": [],
    "a page deep down": [("before", "{middle}")],
    "status, frequent": [("status", "succeeded")],
    "status, rare": [("status", "cancelled")],
    "name, frequent": [("name", "FIT")],
    "name, rare": [("name", "needle")],
    "name, none": [("name", "nowhere at all")],
    "tag, frequent": [("tag", "sky")],
    "tag, rare": [("tag", "needle")],
    "two tags, frequent": [("tag", "sky"), ("tag", "dr4")],
    "two tags, one rare": [("tag", "sky"), ("tag", "needle")],
    "group": [("group", "series-7")],
    "user": [("user", "ada")],
    "since, all": [("since", "{first}")],
    "since, a day": [("since", "{late}")],
    "since, none": [("since", "2099-01-01T00:00:00+00:00")],
    "note, frequent": [("word", "prior")],
    "note, rare": [("word", "needle")],
    "metric, frequent": [("metric", "loss<0.9")],
    "metric, rare": [("metric", "loss<0.0005")],
    "metric, none": [("metric", "loss<0")],
    "two metrics": [("metric", "loss<0.2"), ("metric", "acc>0.8")],
    "metric and tag": [("metric", "loss<0.01"), ("tag", "sky")],
    "status and tag, rare": [("status", "cancelled"), ("tag", "sky")],
    "everything": [
        ("status", "failed"),
        ("tag", "sky"),
        ("since", "{middle_at}"),
        ("metric", "loss<0.3"),
        ("word", "prior"),
    ],
}
SORTED = {
    f"sorted by {sort}{', ' + name if name else ''}": [("sort", sort), *words]
    for sort in ("oldest", "longest", "name", "loss", "-acc")
    for name, words in {
        "": [],
        "a page deep down": [("before", "{middle}")],
        "tag, frequent": [("tag", "sky")],
        "status, rare": [("status", "cancelled")],
    }.items()
}


def made(count: int, seed: int = 7) -> Iterator[Experiment]:
    """Ended experiments as the index keeps them, all different, one a minute."""
    luck = random.Random(seed)
    for number in range(1, count + 1):
        at = FIRST + timedelta(minutes=number)
        is_needle = number % (count // 3) == 7
        chance = luck.random()
        yield structs.replace(
            ENDED,
            run_id=f"{at:%Y-%m-%d}_{number:08x}",
            label=f"EXP-{number:03}",
            name="a needle" if is_needle else f"fit {number}",
            status="cancelled" if is_needle else "failed" if chance < 0.2 else "succeeded",
            command=("python3", "train.py", "--lr", f"{luck.random():.4f}"),
            note=f"wider prior, try {number % 97}" + (" needle" if is_needle else ""),
            user=luck.choice(["ada", "bob", "eve", "kim"]),
            queued_at=at,
            started_at=at,
            ended_at=at + timedelta(seconds=luck.expovariate(0.001)),
            folder=f"/home/ada/lab/labs/main/{at:%Y-%m}/EXP-{number:03}",
            definition=f"{number // 2:064x}",
            tags=(*(t for t in ("sky", "dr4", "debug") if luck.random() < 0.5), *(["needle"] if is_needle else [])),
            group=f"series-{number % 20}",
            hypothesis="a wider prior moves the bump",
            metrics={"loss": luck.random(), "acc": luck.random(), "epochs": float(number % 100)},
        )


def fill(path: Path, count: int) -> None:
    """Write the index of a home that knows so many."""
    index, batch = Index.open(path), list[Experiment]()
    for one in made(count):
        batch.append(one)
        if len(batch) == 5000 or one.label == f"EXP-{count:03}":
            index.apply(batch, consumed={})
            batch.clear()
    index.close()


def page(lab: LaboratoryUnderTest, known: int, rounds: int) -> None:
    """Each query of the API, so many times; the budget is for the whole answer."""
    marks = {
        "{middle}": f"EXP-{known // 2}",
        "{first}": FIRST.isoformat(),
        "{middle_at}": (FIRST + timedelta(minutes=known // 2)).isoformat(),
        "{late}": (FIRST + timedelta(minutes=known - 1440)).isoformat(),
    }
    connection = UnixConnection(lab.home / "server.sock", 30)
    for name, words in (QUERIES | SORTED).items():
        query = urlencode([("limit", str(LIMIT)), *((key, marks.get(value, value)) for key, value in words)])
        path, seconds, found = f"/v1/labs/main/experiments?{query}", list[float](), 0
        for turn in range(-2, rounds * 10):
            begun = time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse().read()
            if turn >= 0:
                seconds.append(time.perf_counter() - begun)
            found = answer.count(b'"run_id"')
        emit(
            group="page",
            case=name,
            known=known,
            found=found,
            p50_ms=short(quantile(seconds, 0.5) * 1e3),
            p95_ms=short(quantile(seconds, 0.95) * 1e3),
            n=len(seconds),
            budget="p95 <= 20 ms",
        )


def command(lab: LaboratoryUnderTest, known: int, rounds: int) -> None:
    """The whole command, against `python -c pass`."""

    def run(*argv: str) -> Callable[[], float]:
        environment = os.environ | {"LAB_HOME": str(lab.home)}
        return lambda: timed(lambda: subprocess.run(argv, env=environment, check=True, capture_output=True))

    cases = {
        "python -c pass": run(sys.executable, "-c", "pass"),
        f"lab list, {known} known": run(LAB, "list"),
        f"lab list --sort loss --tag sky, {known} known": run(LAB, "list", "--sort", "loss", "--tag", "sky"),
    }
    take_turns("command", cases, reference="python -c pass", rounds=rounds * 3, budget="<= 6, goal 4")


CASES = {"page": page, "command": command}


def main() -> None:
    """Run the chosen cases."""
    parser = options(CASES, __doc__)
    parser.add_argument("--known", type=int, default=100_000, help="so many experiments")
    chosen = parser.parse_args()
    os.chdir(REPOSITORY)
    with workplace(chosen.dir, is_loop=chosen.loop) as folder:
        machine(folder)
        lab = LaboratoryUnderTest(folder / "home")
        lab.start()
        lab.kill()
        fill(lab.home / "index.sqlite", chosen.known)
        lab.start()
        try:
            for name in chosen.cases or CASES:
                CASES[name](lab, chosen.known, chosen.rounds)
        finally:
            lab.stop()


if __name__ == "__main__":
    main()
