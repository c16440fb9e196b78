"""What an experiment is and what may happen to it: frozen values and pure functions.

Never here: `await`, a file, a socket, a log line, a clock, randomness. Time and random bytes
arrive as arguments. Everyone may import core; core imports nobody of this house.
"""
