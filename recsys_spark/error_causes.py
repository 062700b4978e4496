"""Why a command failed, in one line: the cause that a person can act on, not the call that met it.

Spark's own errors begin with the call ("An error occurred while calling o12.parquet.") or with the job that was
aborted; what happened stands many lines below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# What stands somewhere in an error, and what it means to the person who runs the job.
_KNOWN = (
    (
        re.compile(r"No space left on device|Disk quota exceeded"),
        "no space left on a disk: make room where paths.processed and spark.local.dir (/tmp without it) lie",
    ),
    (
        re.compile(r"OutOfMemoryError"),
        "Spark's JVM has too little memory: raise spark.driver.memory, on a cluster spark.executor.memory",
    ),
    (
        re.compile(r"Python worker exited unexpectedly|Python worker failed to connect|Failed to read 4 bytes"),
        "a Python worker of Spark ended in the middle of a task: killed, often for want of memory, or crashed",
    ),
    (
        re.compile(r"Py4JNetworkError|Answer from Java side is empty|ExecutorLostFailure"),
        "a JVM of Spark ended in the middle of its work: killed, often for want of memory, or crashed",
    ),
)
_GO_ON = "; then the same command goes on"
_CAUSED_BY = re.compile(r"^Caused by: (.+)$", re.MULTILINE)
_LOST_TASK = re.compile(r"Lost task \S+ in stage \S+ \(TID \d+\) \([^)]*\): (.+)")
_PYTHON_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*(\S.*)$", re.MULTILINE)
_PACKAGES = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Z]\w*(?:Error|Exception|Failure)\b)")


def cause_in_one_line(error: BaseException) -> str:
    """What happened, with what to do where that is known.

    >>> cause_in_one_line(OSError(28, "No space left on device")).split(":")[0]
    'no space left on a disk'
    >>> cause_in_one_line(ValueError("odd"))
    'ValueError: odd'
    """
    texts = [f"{type(each).__name__}: {each}" for each in _chain(error)]
    for pattern, meaning in _KNOWN:
        if any(pattern.search(text) for text in texts):
            return meaning + _GO_ON
    return _first_line(_java_cause(texts[0]) or texts[0])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised from or while handling."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        seen.append(found)
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _java_cause(text: str) -> str | None:
    """The innermost cause that a Java error tells of, a Python one where a worker raised it; None for other errors."""
    if raised := _PYTHON_TRACEBACK.findall(text):
        return _PACKAGES.sub("", raised[-1])
    thrown = re.match(r"Py4JJavaError: .*\n: (.+)", text)
    if caused := _CAUSED_BY.findall(text):
        return _PACKAGES.sub("", caused[-1])
    if lost := _LOST_TASK.search(text):
        return _PACKAGES.sub("", lost[1])
    return _PACKAGES.sub("", thrown[1]) if thrown else None


def _first_line(text: str) -> str:
    kind, _, told = text.partition(":")
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return f"{kind}: {lines[0] if lines else 'no message'}"
