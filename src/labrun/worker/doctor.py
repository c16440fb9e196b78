"""Check what labrun needs of its home and its host, and say what to do about what is missing."""

import shutil
import sys
from pathlib import Path

import apsw

from labrun.core.resources import show_size
from labrun.store.seal import verify_chain
from labrun.wire.responses import Diagnosis, Finding
from labrun.worker.parts import Parts

_FIXED_SQLITE = (3, 51, 3)
"""First release without the WAL-reset corruption.

Source:
    sqlite.org/wal.html#walresetbug.
"""
_LOW_DISK_BYTES = 2**30


def diagnose(parts: Parts) -> Diagnosis:
    """Look at everything once; nothing is changed."""
    findings = [_python(), _sqlite(), _disk(parts.home.root), _store(parts), _memory(parts), _git(), *_chains(parts)]
    findings += [Finding("notice", True, text) for text in parts.notices]
    return Diagnosis(tuple(findings))


def _python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), f"{sys.version.split()[0]} at {sys.executable}")


def _sqlite() -> Finding:
    version = apsw.sqlite_lib_version()
    is_fixed = tuple(map(int, version.split("."))) >= _FIXED_SQLITE
    hint = None if is_fixed else "install a newer apsw: this SQLite can corrupt a WAL database"
    return Finding("sqlite", is_fixed, version, hint)


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    hint = None if free > _LOW_DISK_BYTES else "free some space: logs and outputs need it"
    return Finding("disk", free > _LOW_DISK_BYTES, f"{show_size(free)} free at {root}", hint)


def _store(parts: Parts) -> Finding:
    packs = parts.home.code / "objects/pack"
    sizes = [entry.stat().st_size for entry in packs.iterdir()] if packs.is_dir() else []
    count = len(sizes) // 2
    return Finding(
        "frozen code", True, f"{show_size(sum(sizes))} in {count} pack{'' if count == 1 else 's'}; never removed"
    )


def _memory(parts: Parts) -> Finding:
    if parts.engine.capabilities.enforces_memory:
        return Finding("memory limit", True, "enforced by a cgroup of each attempt")
    hint = "run as a user who may write a cgroup, or inside `systemd-run --user --scope -p Delegate=yes`"
    return Finding("memory limit", False, "only counted: no memory cgroup can be made here", hint)


def _git() -> Finding:
    path = shutil.which("git")
    text = path or "not there: ignore files are read by labrun itself"
    return Finding("git", True, text)


def _chains(parts: Parts) -> list[Finding]:
    findings: list[Finding] = []
    for lab in sorted(path for path in parts.home.labs.iterdir() if path.is_dir()) if parts.home.labs.exists() else ():
        problems = verify_chain(lab)
        text = "whole" if not problems else "; ".join(map(str, problems[:3]))
        hint = None if not problems else "something in this lab was edited, removed or torn"
        findings.append(Finding(f"chain of lab {lab.name}", not problems, text, hint))
    return findings
