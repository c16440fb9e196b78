from datetime import UTC, datetime

import pytest
from msgspec import structs

from labrun.core.definition import definition_of
from labrun.core.spec import ConfigFile, Input, Narrative, Source, Spec, Target

SPEC = Spec(
    Target("script", "fit.py", ("/v/bin/python", "fit.py", "--lr", "1")),
    source=Source(root="/home/ada/planck", tree="a" * 40),
    interpreter="/v/bin/python",
    seed=7,
    is_seed_drawn=True,
)
DATA = Input("sky", "/data/sky", "d" * 64, 9, 1, datetime(2026, 11, 20, tzinfo=UTC))


def changed(**fields: object) -> str:
    return definition_of(structs.replace(SPEC, **fields))


def test_what_is_around_the_question_does_not_change_it() -> None:
    own = definition_of(SPEC)
    assert changed(priority=9, note="again", name="x", user="bob", host="box", timeout_s=9.0) == own
    assert changed(narrative=Narrative(hypothesis="so"), interpreter="/other/python") == own
    assert changed(source=structs.replace(SPEC.source, tree="b" * 40)) == own
    assert changed(source=Source(root="/mnt/elsewhere/planck")) == own
    assert changed(seed=8) == own, "a seed nobody chose is no part of the question"


@pytest.mark.parametrize(
    "fields",
    [
        {"target": structs.replace(SPEC.target, argv=("/v/bin/python", "fit.py", "--lr", "2"))},
        {"configs": (ConfigFile("c.yaml", "submitted/config/c.yaml", "c" * 64, 1),)},
        {"inputs": (DATA,)},
        {"is_seed_drawn": False},
        {"source": Source(root="/home/ada/other")},
        {"source": structs.replace(SPEC.source, cwd="sub")},
    ],
    ids=str,
)
def test_target_configuration_data_and_a_chosen_seed_are_the_question(fields: dict[str, object]) -> None:
    assert changed(**fields) != definition_of(SPEC)


def test_what_it_reads_belongs_to_it_and_paths_below_the_root_move_with_it() -> None:
    assert definition_of(SPEC, "e" * 64) != definition_of(SPEC)
    here = structs.replace(SPEC.target, argv=("/v/bin/python", "/home/ada/planck/fit.py"))
    there = structs.replace(SPEC.target, argv=("/v/bin/python", "/srv/planck/fit.py"))
    assert changed(target=here) == changed(target=there, source=Source(root="/srv/planck"))


def test_it_is_the_same_in_every_version_of_labrun() -> None:
    # it is compared with those of years ago: whoever must change this raises DEFINITION_VERSION, and says why
    whole = structs.replace(SPEC, configs=(ConfigFile("c", "submitted/config/c", "c" * 64, 1),), inputs=(DATA,))
    assert definition_of(SPEC) == "1a08742464a02ad17fc3221cff7f60e32dd4bb5af8de11a72cd9e613247094a3"
    chosen = structs.replace(whole, is_seed_drawn=False)
    assert definition_of(chosen, "e" * 64) == "294684838d308f614115f5a0c79208081bfd843b87d3ee3da88f63f137815a95"
