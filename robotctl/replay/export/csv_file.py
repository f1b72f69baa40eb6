"""This file writes an episode as CSV: one row a control tick, columns with names, units in the manual."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from robotctl.episode.reader import EpisodeLog
from robotctl.replay.export.rows import columns, rows

FIXED = ("time", "skill", "intervened", "stopped", "goals_met")


def write_csv(log: EpisodeLog, out: Path) -> int:
    """Writes the file, as a whole or not at all; returns the number of rows."""
    named = columns(log)
    margins = sorted({name for step in log.steps for name in step.judged})
    head = [*FIXED, *(f"margin.{name}" for name in margins)]
    head += [f"state.{name}" for name in named.state] + [f"action.{name}" for name in named.action]
    head += [*(f"object.{name}" for name in named.objects), *(f"person.{name}" for name in named.people)]
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    count = 0
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(head)
        for step, row in zip(log.steps, rows(log, named), strict=True):
            numbers = [*row.state, *row.action, *row.objects, *row.people]
            fixed = [f"{row.time:.3f}", row.skill, int(row.intervened), int(row.stopped), row.goals_met]
            near = [_cell(step.judged.get(name, math.inf)) for name in margins]
            writer.writerow([*fixed, *near, *map(_cell, numbers)])
            count += 1
    partial.replace(out)
    return count


def _cell(value: float) -> str:
    """The number in as few digits as bring it back; empty where nothing is known."""
    return repr(float(value)) if math.isfinite(value) else ""
