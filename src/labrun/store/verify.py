"""Check records against their seals, and seals against the chain. Reads only."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from labrun.core.errors import StoreDamaged
from labrun.store.artifacts import located, written
from labrun.store.chain import CHAIN, FIRST, ChainLine, digest_of, find_links, lines_of
from labrun.store.evidence import Piece, Seal, read_seal, weigh
from labrun.store.folder import CREATING, Folder
from labrun.store.trash import Tombstone, last_words, place_in_trash
from labrun.store.working import Entry, is_as_stored

EntriesOf = Callable[[str], Mapping[str, Entry]]
"""Gives the files of a frozen tree: `CodeStore.entries`."""


class Finding(Struct, frozen=True):
    """One thing that is not as it was sealed."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def verify_folder(folder: Folder, entries_of: EntriesOf | None = None) -> list[Finding]:
    """Check everything the seals of one experiment vouch for, and the seals against the lab's chain.

    README and manifest are views and not vouched for; a code file that is missing from `work/` is not a
    finding, for the run itself may have removed it.

    Args:
        folder: The experiment's folder.
        entries_of: Gives the files of its frozen tree; without it unchanged code in `work/` is not looked at.
    """
    findings: list[Finding] = []
    seals: dict[int, Seal] = {}
    digests: dict[int, str | None] = {}
    for number in folder.numbers():
        path = folder.attempt(number).seal
        if (piece := weigh(os.fspath(path))) is None:
            continue
        digests[number] = piece.sha256
        try:
            seals[number] = read_seal(path)
        except (OSError, StoreDamaged) as error:
            findings.append(Finding(_name(folder, number, "seal.json"), f"cannot be read: {error}"))
    findings += _against_chain(folder, seals, digests)
    for number, seal in seals.items():
        findings += _against_seal(folder, number, seal, seals)
    if seals and entries_of is not None:
        findings += _against_code(folder, seals, entries_of)
    return findings


def verify_chain(lab: Path) -> list[Finding]:
    """Check a lab's chain, and that every seal it names is there unaltered; hashes no other evidence."""
    path = lab / CHAIN
    findings: list[Finding] = []
    deleted = last_words(lab)
    prev, seen = FIRST, set[tuple[str, int]]()
    for number, (text, line) in enumerate(lines_of(path), start=1):
        where = f"{path} line {number}"
        if line is None:
            problem = "is damaged" if text.endswith(b"\n") else "is torn; the next seal cuts it"
            findings.append(Finding(where, problem))
        else:
            if line.prev != prev:
                findings.append(Finding(where, "does not follow the line before: something was altered or removed"))
            if (line.run_id, line.attempt) in seen:
                findings.append(Finding(where, f"{line.label} attempt {line.attempt} was sealed before"))
            seen.add((line.run_id, line.attempt))
            findings += _against_line(lab, line, deleted.get(line.run_id))
        prev = digest_of(text)
    return findings


def verify_lab(lab: Path, entries_of: EntriesOf | None = None) -> list[Finding]:
    """Check the chain and every folder of a lab; reads all evidence. For a lab in which nothing is sealed just now."""
    findings = verify_chain(lab)
    for path in sorted(lab.glob("*/*/attempts")):
        if not path.parent.name.startswith(CREATING):
            findings += verify_folder(Folder(path.parent), entries_of)
    return list(dict.fromkeys(findings))


def _name(folder: Folder, attempt: int, name: str) -> str:
    return f"{folder.path}/attempts/{attempt}/{name}"


def _against_line(lab: Path, line: ChainLine, tombstone: Tombstone | None) -> Iterator[Finding]:
    folder = Folder(lab.parent.parent / line.folder)
    if tombstone is not None and tombstone.did == "purged":
        return  # it is gone, and the lab's journal says who removed it
    if tombstone is not None and tombstone.did == "deleted":
        folder = Folder(place_in_trash(lab.parent.parent, line.folder))
    path = folder.attempt(line.attempt).seal
    piece = weigh(os.fspath(path))
    if piece is None:
        yield Finding(os.fspath(path), "is missing, and the chain names it")
    elif piece.sha256 != line.seal:
        yield Finding(os.fspath(path), "is not the one the chain names")


def _against_chain(folder: Folder, seals: Mapping[int, Seal], digests: Mapping[int, str | None]) -> Iterator[Finding]:
    lines: dict[int, ChainLine] = {}
    for run_id in {seal.run_id for seal in seals.values()}:
        lines |= find_links(folder.lab / CHAIN, run_id)
    for number, digest in digests.items():
        path = _name(folder, number, "seal.json")
        if number not in lines:
            yield Finding(path, "is not in the lab's chain")
        elif lines[number].seal != digest:
            yield Finding(path, "is not the one the chain names")
    for number, line in lines.items():
        if number not in digests and line.folder == folder.relative:
            yield Finding(_name(folder, number, "seal.json"), "is missing, and the chain names it")


def _against_seal(folder: Folder, number: int, seal: Seal, seals: Mapping[int, Seal]) -> Iterator[Finding]:
    top = os.fspath(folder.path)
    if seal.attempt != number or seal.folder != folder.relative:
        yield Finding(_name(folder, number, "seal.json"), f"belongs to {seal.folder} attempt {seal.attempt}")
    for name, piece in seal.evidence.items():
        yield from _compare(located(top, name), piece)
    for name in sorted(os.listdir(folder.attempt(number).path)):  # noqa: PTH208  names only
        path = f"attempts/{number}/{written(name)}"
        is_file = os.path.isfile(f"{top}/attempts/{number}/{name}")  # noqa: PTH113  text only
        if name != "seal.json" and not name.startswith(".") and path not in seal.evidence and is_file:
            yield Finding(f"{top}/{path}", "is not in the seal")
    later = {(past.attempt, past.path) for after, other in seals.items() if after > number for past in other.superseded}
    for name, piece in seal.artifacts.items():
        if (number, name) not in later:
            yield from _compare(located(top, name), piece)
    yield from _compare(os.fspath(folder.events), seal.events, is_prefix=True)


def _compare(path: str, piece: Piece, *, is_prefix: bool = False) -> Iterator[Finding]:
    now = weigh(path, piece.bytes if is_prefix else None)
    if is_prefix and piece.bytes == 0:
        return
    if now is None:
        yield Finding(path, "is missing")
    elif now.unreadable is not None and piece.unreadable is None:
        yield Finding(path, f"cannot be read: {now.unreadable}")
    elif piece.unreadable is None and now != piece:
        yield Finding(path, "was altered")


def _against_code(folder: Folder, seals: Mapping[int, Seal], entries_of: EntriesOf) -> Iterator[Finding]:
    last = seals[max(seals)]
    if last.code.tree is None:
        return
    try:
        entries = entries_of(last.code.tree)
    except StoreDamaged as error:
        yield Finding(f"{folder.path}/work", f"its frozen code cannot be read: {error.message}")
        return
    for name, entry in entries.items():
        path = f"{folder.path}/work/{name}"
        try:
            is_good = f"work/{name}" in last.artifacts or is_as_stored(path, os.lstat(path), entry)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Finding(path, f"cannot be read: {error.strerror}")
            continue
        if not is_good:
            yield Finding(path, "is neither the frozen code nor an artifact that was sealed")
