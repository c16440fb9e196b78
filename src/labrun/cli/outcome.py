"""`lab outcome`: what an experiment showed, what was learned, what comes next."""

from typing import Any

import click

from labrun.capture.caller import user_name
from labrun.cli.connect import connect, label_of, resolve
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.core.errors import BadValue, nearest
from labrun.core.saying import VERDICTS, verdict_of


@click.command()
@click.argument("reference", metavar="EXPERIMENT")
@click.argument("verdict", metavar="[validates|refutes|inconclusive|partial]", required=False)
@click.option("--outcome", "text", metavar="TEXT", help="What came out, in a sentence.")
@click.option("--learned", multiple=True, metavar="TEXT", help="What you learned; may be given several times.")
@click.option("--next", "steps", multiple=True, metavar="TEXT", help="What to do next; may be given several times.")
@click.option("--author", metavar="NAME", help="Who says it; your login name unless given.")
@common_options
@click.pass_obj
def outcome(
    output: Output,
    reference: str,
    verdict: str | None,
    text: str | None,
    learned: tuple[str, ...],
    steps: tuple[str, ...],
    author: str | None,
    lab: str,
) -> int:
    """Say what an experiment showed about its hypothesis.

    The verdict never changes how it ended. A later one counts; what was learned and what comes next add up.

    \b
    Example:
      lab outcome EXP-054 refutes --outcome "no bump" --learned "mask first" --next "rerun with the new mask"
    """
    remark: dict[str, Any] = {}
    if verdict is not None:
        remark["verdict"] = _verdict(verdict)
    remark |= {
        name: value for name, value in (("outcome", text), ("learnings", learned), ("next_steps", steps)) if value
    }
    if not remark:
        raise BadValue("outcome", "", "a verdict, --outcome, --learned or --next")
    client = connect(output, lab)
    meant = resolve(client, reference)
    told = client.say(meant, author or user_name(), [remark])
    if output.face == "json":
        output.json(told)
    elif output.is_human:
        output.data(f"{label_of(client, meant)}: {told.get('verdict') or 'no verdict yet'}")
    return 0


def _verdict(word: str) -> str:
    verdict = verdict_of(word)
    if verdict is None:
        guess = nearest(word.lower(), VERDICTS)
        raise BadValue("verdict", word, f"{', '.join(VERDICTS)}" + (f"; did you mean `{guess}`?" if guess else ""))
    return verdict
