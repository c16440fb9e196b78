"""Completion in the shell: commands, options, and experiments by label and name."""

import re
from typing import Any

import click
from click.shell_completion import CompletionItem

from labrun.cli.connect import connect_quickly
from labrun.cli.output import Output
from labrun.cli.table import visible
from labrun.core.errors import LabError

SHELLS = {
    "bash": 'eval "$(lab completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(lab completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "lab completion fish | source   # in ~/.config/fish/config.fish",
}
_SHOWN = 100
_PLAIN = re.compile(r"[\w.@%+,/][\w.@%+,/-]*")


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print what a shell needs to complete commands, options, labels and names.

    One line in your shell's start-up file is enough; experiments complete while a server runs.

    \b
    Example:
      eval "$(lab completion bash)"
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows all three"
    output = ctx.ensure_object(Output)
    output.data(found(ctx.find_root().command, {}, "lab", "_LAB_COMPLETE").source().rstrip("\n"))
    return 0


class ExperimentType(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """A reference to an experiment; completes labels and names of the lab, when a server is there to ask."""

    name = "experiment"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Labels and names that begin so, newest first; nothing when nobody answers.

        A name that a shell would cut or take for something else is told beside its label only.
        """
        try:
            client = connect_quickly(ctx, ctx.params.get("lab") or "main")
            is_back = ctx.info_name == "undelete"
            found = (client.trash() if is_back else client.experiments(limit=_SHOWN))["experiments"][:_SHOWN]
        except (LabError, OSError):
            return []
        items = [CompletionItem(one["label"], help=_told(one)) for one in found]
        items += [
            CompletionItem(one["name"], help=one["label"]) for one in found if _PLAIN.fullmatch(one["name"] or "")
        ]
        return [item for item in items if str(item.value).lower().startswith(incomplete.lower())]


def _told(one: dict[str, Any]) -> str:
    return visible(f"{one['status']} {one['name'] or ''}".strip())


def complete_experiments(command: click.Command) -> None:
    """Let a command's references complete."""
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.name in ("reference", "references"):
            parameter.type = ExperimentType()
