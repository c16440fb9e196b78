# `just check` is what must be clean before a change is offered.
set shell := ["sh", "-eu", "-c"]

bin := ".venv/bin"

# All checks, quickest first.
check: format-check lint types contracts house test

# Rewrite the code in its one format.
format:
    {{bin}}/ruff check --fix --exit-zero --quiet
    {{bin}}/ruff format

format-check:
    {{bin}}/ruff format --check

lint:
    {{bin}}/ruff check

types:
    {{bin}}/mypy

# Which room may import which.
contracts:
    {{bin}}/lint-imports

# Sizes, names, door plates, documented commands, settings and error codes.
house:
    {{bin}}/python -m pytest -q tests/test_house.py

test:
    {{bin}}/python -m pytest -n auto --maxprocesses 8 --dist loadgroup -m "not night"

# Write the generated pages of docs/ anew.
docs:
    {{bin}}/python docs/generate.py

# Record the README's terminal pictures from real commands.
pictures:
    {{bin}}/python docs/pictures/make.py

# Resolve the requirements anew, with hashes and without addresses.
lock:
    test -x {{bin}}/uv || {{bin}}/python -m pip install --quiet uv
    {{bin}}/uv pip compile -q --no-config pyproject.toml --group build --group demo --universal --python-version 3.11 \
        --generate-hashes --custom-compile-command "just lock" -o requirements/demo.txt
    {{bin}}/uv pip compile -q --no-config pyproject.toml --group build --group demo --group dev --universal --python-version 3.11 \
        --generate-hashes --custom-compile-command "just lock" -o requirements/dev.txt
