"""What holds for every test: nobody's own laboratory is touched, nothing of the caller leaks in."""

import os

import hypothesis

# A developer's own home, and the variables of an experiment that runs this suite, must not reach any
# test or any process a test starts. Done at import, before a fixture of any scope could read them.
for _name in [name for name in os.environ if name.startswith("LAB_")]:
    del os.environ[_name]

# A shared machine pauses a test for longer than hypothesis' limit on one example.
# `LABRUN_TEST_EXAMPLES` is raised by night.
_EXAMPLES = int(os.environ.get("LABRUN_TEST_EXAMPLES", "100"))
hypothesis.settings.register_profile("shared machine", deadline=None, max_examples=_EXAMPLES)
hypothesis.settings.load_profile("shared machine")
