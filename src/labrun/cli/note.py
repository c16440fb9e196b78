"""`lab note`: a dated remark on an experiment, in whatever state it is."""

import sys
from pathlib import Path

import click

from labrun.capture.caller import user_name
from labrun.cli.connect import connect, label_of, resolve
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.core.errors import BadValue, NoSuchScript, TooBig
from labrun.core.saying import TEXT_LIMIT_BYTES


@click.command()
@click.argument("reference", metavar="EXPERIMENT")
@click.argument("words", metavar="[TEXT]...", nargs=-1)
@click.option("-F", "--file", metavar="FILE", help="Take the text from a file; `-` is standard input.")
@click.option("--author", metavar="NAME", help="Who says it; your login name unless given.")
@common_options
@click.pass_obj
def note(output: Output, reference: str, words: tuple[str, ...], file: str | None, author: str | None, lab: str) -> int:
    """Add a dated remark. It is kept beside the sealed record, never over it, and nothing is ever overwritten.

    Without TEXT it is read from standard input.

    \b
    Example:
      lab note EXP-054 the bump at z=2 is the mask, not physics
    """
    add(output, reference, text_of(words, file), author, lab)
    return 0


def add(output: Output, reference: str, text: str, author: str | None, lab: str) -> None:
    """Add a remark and say where it stands."""
    client = connect(output, lab)
    meant = resolve(client, reference)
    told = client.say(meant, author or user_name(), [{"text": text}])
    if output.face == "json":
        output.json(told)
    elif output.is_human:
        count = len(told.get("annotations", ()))
        output.data(f"noted; {label_of(client, meant)} has {count} note{'s' if count != 1 else ''}")


def text_of(words: tuple[str, ...], file: str | None) -> str:
    """The text from the words, a file, or standard input.

    Raises:
        BadValue: There is none, or two.
        NoSuchScript: The file cannot be read.
    """
    if words and file is not None:
        raise BadValue("note", file, "either words or a file")
    if words:
        return _readable(" ".join(words))
    if file is not None and file != "-":
        try:
            return _readable(Path(file).read_bytes().decode("utf-8", "surrogateescape")).rstrip("\n")
        except OSError as error:
            raise NoSuchScript(file, error.strerror or str(error), "check the path") from error
    if sys.stdin is None or (file is None and sys.stdin.isatty()):
        raise BadValue("note", "", 'a text: `lab note EXP-054 "what you saw"`, `-F FILE`, or something piped in')
    return _readable(sys.stdin.buffer.read().decode("utf-8", "surrogateescape")).rstrip("\n")


def _readable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadValue("note", ascii(text[:40]), "text in UTF-8") from None
    if (size := len(text.encode())) > TEXT_LIMIT_BYTES:
        raise TooBig("the note", size, TEXT_LIMIT_BYTES, "put it into a file in the experiment's `outputs/`")
    return text
