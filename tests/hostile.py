"""A script that does not want to end."""

HOSTILE = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
def family(depth):
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            if depth:
                family(depth - 1)
            while True:
                time.sleep(1)
family(2)
time.sleep(0.1)
print("grown", flush=True)
while True:
    time.sleep(1)
"""
"""Double forks, sessions of their own, deaf to every polite signal: 15 processes in all."""
