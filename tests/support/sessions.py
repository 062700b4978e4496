"""What sessions of tests have in common."""

from __future__ import annotations

# A JVM that lives for minutes spends most of them compiling what runs a few times: the first compiler is enough.
SHORT_LIVED_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
