from datetime import UTC, datetime

import pytest
from msgspec import structs

from labrun.core import changes
from labrun.core.environment import Environment, Gpu, Machine, Python
from labrun.core.resources import Request
from labrun.core.spec import ConfigFile, Input, Link, Source, Spec, Target

SPEC = Spec(Target("script", "fit.py", ("python", "fit.py", "--lr", "1")), seed=1)
DATA = Input("sky", "/data", "a" * 64, 1, 1, datetime(2026, 11, 20, tzinfo=UTC))
MACHINE = Machine("box", "Debian 12", "6.1", "x86_64", "EPYC", 8, 2**33)
PLACE = Environment(MACHINE, Python("/p", "3.11.7", "CPython", "/v", "system"), ("numpy==1.26.4", "scipy==1.11"))


def told(before: Spec, after: Spec) -> list[tuple[str, str]]:
    return [(change.kind, change.text) for change in changes.between(before, after)]


def test_the_same_twice_differs_in_nothing() -> None:
    assert told(SPEC, SPEC) == []
    assert list(changes.environments(PLACE, PLACE)) == []
    assert list(changes.environments(None, PLACE)) == []


def test_each_difference_of_two_specs_is_said_once() -> None:
    other = structs.replace(
        SPEC,
        target=structs.replace(SPEC.target, argv=("python", "fit.py", "--lr", "2")),
        configs=(ConfigFile("c.yaml", "submitted/config/c.yaml", "c" * 64, 1),),
        inputs=(DATA,),
        resources=Request(cpus=2),
        seed=2,
    )
    assert told(SPEC, other) == [
        ("arguments", "arguments: --lr 1 became --lr 2"),
        ("configuration", "configuration files changed: c.yaml"),
        ("data", "input `sky` is new"),
        ("resources", "resources: cpus none became 2"),
        ("arguments", "seed 1 became 2"),
    ]
    assert ("data", "input `sky` is gone") in told(other, SPEC)
    drawn = structs.replace(SPEC, seed=3, is_seed_drawn=True)
    assert told(SPEC, drawn) == [], "a seed nobody chose says nothing"


def test_a_link_that_came_went_or_leads_elsewhere_is_said() -> None:
    def linked(**links: str) -> Spec:
        return structs.replace(SPEC, source=Source(links=tuple(Link(*each) for each in links.items())))

    assert told(linked(data="/nas/a", cache="/c"), linked(data="/nas/b", raw="/r")) == [
        ("links", "link `cache` is gone"),
        ("links", "link `data` led to /nas/a, now to /nas/b"),
        ("links", "link `raw` is new"),
    ]
    assert told(linked(data="/nas/a"), linked(data="/nas/a")) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (["--lr", "0.1"], ["--lr", "0.1", "--fast"], "--fast is new"),
        (["--lr", "0.1", "--fast"], ["--lr", "0.1"], "--fast is gone"),
        (["--lr=0.1", "x"], ["--lr=0.2", "x"], "--lr=0.1 became --lr=0.2"),
        (["a", "1", "b", "1"], ["a", "1", "b", "2"], "1 became 2"),
        (["a", "b"], ["b", "a"], "b is new; b is gone"),
        (["a b"], ["a", "b"], "'a b' became a b"),
    ],
)
def test_arguments_are_told_with_their_options(before: list[str], after: list[str], said: str) -> None:
    specs = [
        structs.replace(SPEC, target=structs.replace(SPEC.target, argv=("python", "fit.py", *words)))
        for words in (before, after)
    ]
    assert told(*specs) == [("arguments", f"arguments: {said}")]


def test_packages_python_and_machine() -> None:
    other = Environment(
        structs.replace(MACHINE, host="cluster", gpus=(Gpu(0, "H100", 2**36),)),
        Python("/p", "3.12.1", "CPython", "/v", "system"),
        ("numpy==2.0.0", "jax==0.4", "# a comment"),
    )
    assert [change.text for change in changes.environments(PLACE, other)] == [
        "Python 3.11.7 became 3.12.1",
        "jax is new, numpy 1.26.4 became 2.0.0, scipy is gone",
        "host box became cluster",
        "GPUs none became H100",
    ]


def test_packages_that_are_not_known_are_not_compared() -> None:
    chosen = structs.replace(PLACE, python=None, packages=(), chosen_by="uv run")
    assert [change.text for change in changes.environments(PLACE, chosen)] == [
        "its environment was chosen by the caller, now by uv run"
    ]


def test_a_long_list_of_packages_is_cut() -> None:
    many = structs.replace(PLACE, packages=tuple(f"p{n}==1" for n in range(20)))
    (change,) = changes.environments(structs.replace(PLACE, packages=()), many)
    assert change.text.endswith("and 14 more")


def test_code_shows_its_first_lines_and_binaries_only_that_they_changed() -> None:
    change = changes.code("fit.py", b"a\nb\n", b"a\nc\n")
    assert (change.text, change.lines) == ("fit.py changed", ("@@ -1,2 +1,2 @@", " a", "-b", "+c"))
    assert changes.code("new.py", None, b"x\n").text == "new.py is new"
    assert changes.code("x.bin", b"\xff", b"\xfe").lines == ()
    long = changes.code("long.py", b"", b"line\n" * 1000)
    assert len(long.lines) == 41
    assert long.lines[-1].startswith("… ")
