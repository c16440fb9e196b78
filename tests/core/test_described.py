from datetime import UTC, datetime

from labrun.core.described import describe
from labrun.core.faults import faults
from labrun.core.resources import Request
from labrun.core.spec import ConfigFile, Input, Link, Narrative, Source, Spec, Staged, Target

THEN = datetime(2026, 11, 20, tzinfo=UTC)


def test_a_full_spec_is_a_description_without_faults() -> None:
    spec = Spec(
        Target("script", "train.py", ("/py", "train.py", "--lr", "1e-3", "--from={staged}")),
        lab="sky",
        name="planck",
        source=Source("/p", tree="ab" * 20, cwd="sub", links=(Link("data", "/p/data"),)),
        interpreter="/py",
        resources=Request(cpus=2, memory_bytes=8 * 2**30, gpu_count=1),
        priority=7,
        timeout_s=90.5,
        grace_s=3.0,
        note="why\nnot",
        narrative=Narrative(hypothesis="wide", expected_outcome="more", experiment_group="g", tags=("a",)),
        configs=(ConfigFile("/p/c.yaml", "submitted/config/c.yaml", "00" * 32, 1),),
        inputs=(Input("stars", "/d/stars.csv", "11" * 32, 1, 1, THEN),),
        staged=(Staged("m.pt", "2026-11-20_aaaaaaaa", "outputs/m.pt", "ab" * 32, 3),),
        expected_outputs=("*.csv",),
        seed=7,
        pod="h100",
        metrics_from="json",
        stdin="spooled",
        definition="ef" * 32,
    )
    found = describe(spec, parent="EXP-054", staged={"m.pt": "/f/staged/m.pt"})
    assert faults(found) == []
    assert found == {
        "script": "train.py",
        "args": ["--lr", "1e-3", "--from=/f/staged/m.pt"],
        "cwd": "/p/sub",
        "python": "/py",
        "name": "planck",
        "note": "why\nnot",
        "hypothesis": "wide",
        "expect": "more",
        "group": "g",
        "tags": ["a"],
        "metrics_from": "json",
        "lab": "sky",
        "priority": 7,
        "timeout": 90.5,
        "grace": 3,
        "resources": {"cpus": 2, "memory": 8 * 2**30, "gpus": 1},
        "config": ["/p/c.yaml"],
        "inputs": {"stars": "/d/stars.csv"},
        "outputs": ["*.csv"],
        "seed": 7,
        "links": ["/p/data"],
        "stdin": "spooled",
        "parent": "EXP-054",
    }


def test_what_is_as_usual_is_left_out() -> None:
    spec = Spec(Target("module", "a.b", ("/py", "-m", "a.b")), source=Source("/p"), interpreter="/py", seed=3)
    drawn = describe(
        Spec(spec.target, source=spec.source, interpreter="/py", seed=3, is_seed_drawn=True), parent="1", staged={}
    )
    assert drawn == {"module": "a.b", "cwd": "/p", "python": "/py", "parent": "1"}
    assert describe(spec, parent="1", staged={})["seed"] == 3


def test_a_program_and_what_nobody_recognised_is_a_command() -> None:
    program = Spec(Target("program", "sim", ("./sim", "-n", "1")), source=Source(cwd="/live", cwd_is_live=True))
    assert describe(program, parent="1", staged={}) == {"command": ["./sim", "-n", "1"], "cwd": "/live", "parent": "1"}
    odd = Spec(Target("script", "t.py", ("/py", "t.py")), source=Source("/p"))
    assert describe(odd, parent="1", staged={})["command"] == ["/py", "t.py"]


def test_live_links_are_not_told_twice() -> None:
    source = Source("/p", cwd="/p", cwd_is_live=True, is_live=True, links=(Link("data", "/p/data"),))
    found = describe(Spec(Target("program", "sim", ("sim",)), source=source), parent="1", staged={})
    assert found["live"] is True
    assert "links" not in found
