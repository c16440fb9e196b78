"""The `lab` command: one file per command; parses, calls the client, prints.

Never here: a way around the API, a decision, printing outside `output.py`.
"""
