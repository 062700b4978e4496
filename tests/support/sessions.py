"""What sessions of tests have in common."""

from __future__ import annotations

import signal

# A JVM that lives for minutes spends most of them compiling what runs a few times: the first compiler is enough.
SHORT_LIVED_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def listen_to_ctrl_c() -> None:
    """For `preexec_fn`: a child of a job in the background would ignore SIGINT, as its parents do."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
