# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
JOBS ?= auto
PYTEST = .venv/bin/python -m pytest -n $(JOBS) --dist loadgroup --maxprocesses 8

export PYTHON

.PHONY: help demo test night check pictures clean

help:
	@echo "make demo    fit Hubble's law through 'lab run' and show what is left"
	@echo "make test    install what the tests need, run them"
	@echo "make night   the same with the long ones"
	@echo "make check   format, lint, types, import contracts, house rules, tests (as 'just check')"
	@echo "make pictures  draw the documents' terminal pictures anew"
	@echo "make clean   remove environments, caches and the demo's home"

demo:
	@sh requirements/set-up.sh demo
	@sh examples/hubble/demo.sh

test:
	@sh requirements/set-up.sh dev
	@$(PYTEST) -m "not night"

# More of everything that is drawn by chance: kills, examples of a property; and what is large.
night: export LABRUN_TEST_KILLS ?= 1000
night: export LABRUN_TEST_EXAMPLES ?= 2000
night: export LABRUN_TEST_CUTS ?= 60
night:
	@sh requirements/set-up.sh dev
	@$(PYTEST) -o timeout=1800

check:
	@sh requirements/set-up.sh dev
	@.venv/bin/just check

pictures:
	@sh requirements/set-up.sh dev
	@.venv/bin/python docs/pictures/make.py

clean:
	@if [ -x .venv/bin/lab ] && [ -d .lab-demo ]; then LAB_HOME="$(CURDIR)/.lab-demo" .venv/bin/lab server stop || true; fi
	rm -rf .venv .lab-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
