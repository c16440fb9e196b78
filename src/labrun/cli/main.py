"""Entry of `lab` and `labrun`: finds the command, loads it alone, turns errors into words and statuses."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import PurePath

import click

from labrun import __version__
from labrun.cli import exit as statuses
from labrun.cli.output import Output, OutputClosed, OutputFailed
from labrun.cli.surroundings import may_colour
from labrun.core.errors import InternalError, LabError, RequestError, UnknownOption, nearest

COMMANDS = {
    "run": ("run", "run", "Run a script and show its output, as if you had started it yourself."),
    "queue": ("queue", "queue", "Put a script in line and return; it runs when its turn comes."),
    "status": ("status", "status", "Show what runs, what waits and why, and what ended last."),
    "list": ("list", "list_experiments", "List experiments, newest first."),
    "note": ("note", "note", "Add a dated remark to an experiment."),
    "annotate": ("annotate", "annotate", "The same, in the words of other tools."),
    "outcome": ("outcome", "outcome", "Say what an experiment showed."),
    "narrative": ("narrative", "narrative", "Show or edit why it was run and what came of it."),
    "tree": ("tree", "tree", "Show what followed from what."),
    "open": ("open", "open_folder", "Go to an experiment's folder."),
    "info": ("info", "info", "Show one experiment: what, why, how it stands, where."),
    "logs": ("logs", "logs", "Print what an experiment wrote."),
    "metrics": ("metrics", "metrics", "Show what an experiment measured, as a table or every point."),
    "attach": ("attach", "attach", "Come back to an experiment that runs in a terminal."),
    "cancel": ("cancel", "cancel", "Stop experiments, waiting or running."),
    "wait": ("wait", "wait", "Wait until experiments are over."),
    "resume": ("resume", "resume", "Let a failed or cancelled experiment go on."),
    "resubmit": ("resubmit", "resubmit", "Queue a new experiment that is the same as an old one."),
    "requeue": ("requeue", "requeue", "Queue a new experiment: an old one with other arguments."),
    "clone": ("clone", "clone", "Print an experiment as an experiment file to edit."),
    "fork": ("fork", "fork", "Queue a changed copy of an experiment."),
    "delete": ("delete", "delete", "Move experiments that are over to the trash."),
    "undelete": ("undelete", "undelete", "Bring deleted experiments back, or show which there are."),
    "restore": ("restore", "restore", "Write the code an experiment ran with into a folder."),
    "pull": ("pull", "pull", "Copy an experiment's files to here, from another machine too."),
    "doctor": ("doctor", "doctor", "Check home, host and server."),
    "reindex": ("reindex", "reindex", "Rebuild the index from the folders."),
    "schema": ("schema", "schema", "Print the JSON Schema of an experiment file, for editors."),
    "completion": ("completion", "completion", "Print what a shell needs to complete commands and labels."),
    "settings": ("settings", "show_settings", "Show settings and where each value comes from."),
    "init": ("init", "init", "Make a home; needed only on NFS."),
    "serve": ("serve", "serve", "Serve this home in the foreground."),
    "server": ("server", "server", "Look at, stop or restart the server; what runs, runs on."),
}
"""Module, attribute and one line of help of every command; the module is loaded when it is used."""
HIDDEN = {"bridge": ("bridge", "bridge")}
"""Commands that only labrun itself calls."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and loads only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in COMMANDS and cmd_name not in HIDDEN:
            return None
        module, attribute, *_ = COMMANDS.get(cmd_name) or HIDDEN[cmd_name]
        found = getattr(import_module(f"labrun.cli.{module}"), attribute)
        assert isinstance(found, click.Command)
        if ctx.resilient_parsing:  # somebody pressed the tab key
            from labrun.cli.completion import complete_experiments

            complete_experiments(found)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one.

        Raises:
            RequestError: Nobody knows it.
        """
        name = args[0]
        if name not in COMMANDS and name not in HIDDEN and not name.startswith("-"):
            guess = nearest(name, COMMANDS)
            hint = f"did you mean `lab {guess}`?" if guess else "`lab --help` lists what there is"
            if name.endswith(".py"):
                hint = f"did you mean `lab run {name}`?"
            raise RequestError(f"unknown command `{name}`", hint=hint)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lab", message="%(prog)s %(version)s")
@click.option("--host", metavar="ADDRESS", help="The lab on another machine: ssh://user@box, user@box, box.")
def cli(host: str | None) -> None:
    """The laboratory on the computer you already own.

    Runs your scripts when their turn comes and leaves a folder that says what ran, on what, and how it ended.

    \b
    Example:
      lab run train.py --lr 1e-3
      lab status
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Entry point of `lab` and `labrun`."""
    words = list(sys.argv[1:] if args is None else args)
    _fill_closed_descriptors()
    output = Output(may_colour=may_colour())
    try:
        return _run(words, output)
    except OutputClosed:
        return statuses.OUTPUT_CLOSED
    except OutputFailed as error:
        output.insist(f"lab: standard output cannot be written: {error}")
        return statuses.WORLD
    except Exception as error:  # noqa: BLE001  root of the process: a bug is shown whole, with the documented status
        import traceback  # start-up time: only when we failed

        output.insist(*traceback.format_exc().splitlines())
        output.problem("internal", f"{type(error).__name__}: {error}", "this is a bug of labrun; please report it")
        return statuses.INTERNAL


def _run(words: list[str], output: Output) -> int:
    try:
        # asked to find the width itself, click loads `shutil` and with it three compressors
        columns = min(output.width or 80, 100)
        status = cli.main(words, prog_name="lab", standalone_mode=False, obj=output, terminal_width=columns)
    except click.exceptions.NoArgsIsHelpError as error:
        output.insist(error.message)
        return statuses.USAGE
    except click.ClickException as error:
        return _refuse(output, words, _translate(error))
    except (click.Abort, KeyboardInterrupt):
        return statuses.INTERRUPTED
    except InternalError:
        raise
    except LabError as error:
        return _refuse(output, words, error)
    return status if isinstance(status, int) else 0


def _refuse(output: Output, words: list[str], error: LabError) -> int:
    if "--json" in words and isinstance(error, RequestError) and output.face == "human":
        # the command line was not read to its end: `--json` counts if it stands before the script's part
        ours = words[: words.index("--")] if "--" in words else words
        output.face = "json" if "--json" in ours else output.face
    output.problem(error.code, error.message, error.hint, error.details)
    return statuses.of_error(error.code)


def _translate(error: click.ClickException) -> LabError:
    """Put what the parser refuses into our words."""
    where = "lab"
    known: list[str] = []
    if isinstance(error, click.UsageError) and error.ctx is not None:
        where = error.ctx.command_path
        for parameter in error.ctx.command.get_params(error.ctx):
            known.extend(parameter.opts)
    if isinstance(error, click.NoSuchOption):
        if error.option_name == "--host" and where != "lab":
            return RequestError("`--host` stands before the command", hint=f"`lab --host ADDRESS {where[4:]} …`")
        return UnknownOption(error.option_name, [name for name in known if name.startswith("--")], where)
    message = error.format_message().rstrip(".")
    return RequestError(message[:1].lower() + message[1:], hint=f"`{where} --help` shows how")


def _fill_closed_descriptors() -> None:
    """Open /dev/null where 0, 1 or 2 are closed: a socket must never become somebody's stdout."""
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(PurePath(os.devnull), flags)  # takes the lowest free number, which is this one


if __name__ == "__main__":
    sys.exit(main())
