"""Views of an experiment: README.md and run_manifest.json, made from its story whenever it changed.

Pure functions from values to text. A view is never the truth: it can be thrown away and made again.
"""
