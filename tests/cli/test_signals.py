import os
import signal

import pytest

from labrun.cli.signals import Interrupted, Signals


def test_a_signal_breaks_off_waiting() -> None:
    with Signals() as signals:
        with pytest.raises(Interrupted), signals.waiting():
            signal.raise_signal(signal.SIGINT)
        assert signals.next() == signal.SIGINT
        assert signals.next() is None


def test_a_signal_outside_waiting_is_kept_until_then() -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.has_pending
        with pytest.raises(Interrupted), signals.waiting():
            raise AssertionError("must not wait while a signal is pending")
        assert signals.next() == signal.SIGTERM
        with signals.waiting():
            pass


def test_what_was_ignored_stays_ignored_and_handlers_come_back() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.has_pending
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGHUP, before)
