"""The service's log: one JSON object a line on standard error, or plain text for people.

The output of a crash (a panic, libzmq's assertions, faulthandler's trace) bypasses this module and has no such form.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
from collections.abc import Mapping

FORMATS = ("json", "text")
LOGGER = logging.getLogger("reference")


class Line(logging.Formatter):
    """A record with its fields. form: one of FORMATS."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        fields: Mapping[str, object] = getattr(record, "fields", {})
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        if self.form == "text":
            words = [f"{name}={json.dumps(value)}" for name, value in fields.items()]
            text = " ".join([at, record.levelname, record.getMessage(), *words])
            return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text
        line: dict[str, object] = {"time": at, "level": record.levelname.lower(), "logger": record.name}
        line |= {"event": record.getMessage(), **fields}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(form: str) -> None:
    """Every logger of the process writes to standard error in that form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line(form))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


def log(event: str, level: int = logging.INFO, **fields: object) -> None:
    """One event. fields: plain values."""
    LOGGER.log(level, event, extra={"fields": fields})
