"""The identity of what is run: the same definition is the same question, whoever asks it again.

Target, configuration and declared inputs; not the interpreter, the machine, the priority or the words
around it. The code tree is recorded beside it: who wants it in the identity compares both.
"""

import hashlib
import json

from labrun.core.spec import Spec

DEFINITION_VERSION = 1


def definition_of(spec: Spec, stdin_sha256: str | None = None) -> str:
    """SHA-256 over the canonical JSON of what is run.

    Args:
        spec: With its configuration files and inputs hashed.
        stdin_sha256: Of what it reads, when that is spooled.
    """
    source, target = spec.source, spec.target
    arguments = target.argv[1:] if spec.interpreter is not None else target.argv
    said = {
        "version": DEFINITION_VERSION,
        "kind": target.kind,
        "arguments": [_within(word, source.root) for word in arguments],
        # the folder's name, not its path: the same project lies elsewhere on another machine
        "project": source.root.rpartition("/")[2] if source.root else None,
        "cwd": _within(source.cwd, source.root),
        "configs": [config.sha256 for config in spec.configs],
        "inputs": {data.name: data.sha256 for data in spec.inputs},
        "seed": None if spec.is_seed_drawn else spec.seed,
        "stdin": stdin_sha256,
    }
    if spec.staged:
        said["staged"] = {file.name: file.sha256 for file in spec.staged}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _within(word: str, root: str | None) -> str:
    """A path below the source root as seen from there."""
    if root is None or not (word == root or word.startswith(root + "/")):
        return word
    return word[len(root) + 1 :] or "."
