"""What was true at submit and at start: code to freeze, the caller's surroundings, the host.

Reads the world and returns values; stores nothing, decides nothing. The worker and bootstrap come in.
"""
