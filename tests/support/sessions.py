"""What sessions of tests have in common."""

from __future__ import annotations

import signal

from tests.support.class_archive import class_archive


def short_lived_jvm() -> str:
    """Options of a JVM that lives for minutes, and spends most of them loading classes and compiling what runs a few
    times: the classes of an archive and the first compiler are enough.
    """
    return f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:SharedArchiveFile={class_archive()}"


def listen_to_ctrl_c() -> None:
    """For `preexec_fn`: a child of a job in the background would ignore SIGINT, as its parents do."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
