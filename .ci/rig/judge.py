"""Figures against their limits."""

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
    """What a figure shall be."""

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
    """The limits of an ordinary run, with a double underscore for the dot; None drops one."""
    # Gap: a pose is due every 33 ms, and a machine with few cores stumbles now and then.
    usual = {name: ("=", 0) for name in ZERO} | {
        "sessions.on_fallback": ("=", 0),
        "sessions.fallbacks": ("=", 0),
        "channels.pose.loss": ("<=", 0.01),
        "channels.pose.delivered": (">=", 1),
        "channels.pose.gap_max_ms": ("<=", 1_000),
    }
    usual |= {name.replace("__", "."): limit for name, limit in changed.items()}
    return [Limit(name, *limit) for name, limit in usual.items() if limit]


def judge_report(report, wanted):
    """Rows of a load generator's report."""
    return [judge(limit, look_up(report, limit.figure)) for limit in wanted]


def judge(limit, measured):
    """One row."""
    text = f"{limit.operator} {show(limit.value)}"
    ok = measured is not None and OPERATORS[limit.operator](measured, limit.value)
    return Row(limit.figure, show(measured), text, ok)


def look_up(report, path):
    """`a.b.c` in nested dictionaries, None where it is missing."""
    for key in path.split("."):
        report = report.get(key) if isinstance(report, dict) else None
    return report


def show(value):
    """A number for people."""
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
