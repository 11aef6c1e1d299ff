"""Compares figures with their limits."""

import dataclasses
import operator
import typing

OPERATORS = {"=": operator.eq, "<=": operator.le, ">=": operator.ge}

ZERO = (
    "joins.failed", "sessions.lost", "sessions.resumed",
    *(f"channels.event.{what}" for what in
      ("lost", "duplicated", "reordered", "corrupt", "misrouted")),
    *(f"channels.pose.{what}" for what in ("duplicated", "corrupt", "misrouted")),
    *(f"channels.voice.{what}" for what in ("corrupt", "misrouted")),
)


class Limit(typing.NamedTuple):
    """A limit for a figure."""

    figure: str
    operator: str
    value: float


@dataclasses.dataclass
class Row:
    """A line of the table."""

    figure: str
    measured: str
    limit: str
    ok: bool


def limits(**changed):
    """Returns the limits of an ordinary run, changed by the arguments.

    A double underscore stands for the dot in a name. None removes a limit.
    """
    # A pose is due every 33 ms, but a machine with few cores sometimes pauses for longer.
    usual = {name: ("=", 0) for name in ZERO} | {
        "valid": ("=", 1),
        "sessions.on_fallback": ("=", 0),
        "sessions.fallbacks": ("=", 0),
        "channels.pose.loss": ("<=", 0.01),
        "channels.pose.delivered_share": (">=", 0.95),
        "channels.pose.gap_max_ms": ("<=", 1_000),
    }
    usual |= {name.replace("__", "."): limit for name, limit in changed.items()}
    return [Limit(name, *limit) for name, limit in usual.items() if limit]


def judge_report(report, wanted):
    """Returns the rows of a load generator's report."""
    return [judge(limit, look_up(report, limit.figure)) for limit in wanted]


def judge(limit, measured):
    """Returns the row of one figure."""
    text = f"{limit.operator} {show(limit.value)}"
    ok = measured is not None and OPERATORS[limit.operator](measured, limit.value)
    return Row(limit.figure, show(measured), text, ok)


def look_up(report, path):
    """Looks up `a.b.c` in nested dictionaries. Returns None if it is missing."""
    for key in path.split("."):
        report = report.get(key) if isinstance(report, dict) else None
    return report


def show(value):
    """Formats a number for people."""
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
