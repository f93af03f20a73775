"""Log records as lines of JSON, for programs that collect logs."""

import json
import logging
from datetime import UTC, datetime
from logging.config import dictConfig
from typing import Any, Literal

from bighub_langgraph.core.jsonable import to_jsonable

LogFormat = Literal["text", "json"]

# What every record has; the rest is what its logger was given as `extra`.
_STANDARD = {*vars(logging.makeLogRecord({})), "asctime", "message", "taskName"}
_STANDARD |= {"color_message"}  # uvicorn's message once more, for terminals


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: `at`, `level`, `logger`, `message`, its `extra` fields.

    A record with an exception also has its traceback as `exception`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        fields: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = record.stack_info
        return json.dumps({**fields, **to_jsonable(extra), **fields})


def configure_server_logs(level: str, log_format: LogFormat) -> None:
    """Let a server's process log to stderr.

    Requests, which are logged to `bighub_langgraph.server`, are lines of JSON in both formats.
    """
    from uvicorn.config import LOGGING_CONFIG

    handler = "json" if log_format == "json" else "default"
    own = {"level": level.upper(), "propagate": False}
    config = {
        **LOGGING_CONFIG,
        "formatters": {**LOGGING_CONFIG["formatters"], "json": {"()": JsonFormatter}},
        "handlers": {
            **LOGGING_CONFIG["handlers"],
            "json": {"class": "logging.StreamHandler", "formatter": "json"},
        },
        "loggers": {
            "uvicorn": {**own, "handlers": [handler]},
            "bighub_langgraph": {**own, "handlers": [handler]},
            "bighub_langgraph.server": {**own, "handlers": ["json"]},
        },
        "root": {"level": "WARNING", "handlers": [handler]},
    }
    dictConfig(config)
    logging.captureWarnings(log_format == "json")
