"""What is written to stderr: lines for people, or JSON for what gathers logs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from pathlib import Path

LOG_FORMATS = ("text", "json")
_TEXT = logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")


class JsonLines(logging.Formatter):
    """One JSON object a line: time (ISO, UTC), level, message, and the facts that came with it (stage, event, ...)."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        facts = {**line, **getattr(record, "facts", {})}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts, ensure_ascii=False, default=str)


def set_up_logs(log_format: str) -> None:
    """Send the project's lines to stderr in a format of LOG_FORMATS, and of other libraries what is a warning."""
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setFormatter(JsonLines() if log_format == "json" else _TEXT)
            handler.addFilter(_is_not_of_py4j)
    logging.getLogger("recsys").setLevel(logging.INFO)


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    """On Ctrl-C, and when the JVM ends, Py4J prints tracebacks of its own, some of them as the root logger."""
    return "py4j" not in Path(record.pathname).parts


def say(line: str, code: int) -> None:
    """The last line of a command that failed: as it is, or as JSON where the log is."""
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler.formatter, JsonLines)]
    if handlers:
        facts = {"facts": {"event": "failed", "exit": code}}
        logging.getLogger("recsys").error("%s", line, extra=facts)
    else:
        print(line, file=sys.stderr)
