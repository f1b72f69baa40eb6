"""The trials of a campaign in a file, one line each: what an interrupted campaign goes on from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.errors import InvalidFileError, UsageError
from robotctl.jsontext import json_text
from robotctl.redteam.episode import Trial


@dataclass(frozen=True)
class Entry:
    """One trial: of which search, which vector, which attack, and what came of it."""

    search: str
    index: int
    vector: tuple[float, ...]
    attack: dict[str, Any]
    trial: Trial


class Journal:
    """`trials.jsonl` in a campaign's folder, and `campaign.json` that says what it is about."""

    def __init__(self, folder: Path, about: dict[str, Any], resume: bool) -> None:
        self._file = folder / "trials.jsonl"
        head = folder / "campaign.json"
        self.entries: list[Entry] = []
        self._known: dict[tuple[str, int], Entry] = {}
        if head.exists():
            if not resume:
                raise UsageError(f"{folder}: holds a campaign already; go on with --resume or choose another --out")
            try:
                earlier = json.loads(head.read_text())
            except (OSError, ValueError):
                raise InvalidFileError(f"{head}: cannot be read; choose another --out") from None
            if earlier != json.loads(json_text(about)):
                raise UsageError(f"{folder}: is a campaign with other options or another version; choose another --out")
            self._known = {(entry.search, entry.index): entry for entry in self._read()}
        else:
            if resume and not folder.exists():
                raise UsageError(f"{folder}: there is no campaign to go on with")
            folder.mkdir(parents=True, exist_ok=True)
            head.write_text(json_text(about) + "\n")

    def known(self, search: str, index: int, vector: np.ndarray) -> Entry | None:
        """What an earlier run found for this trial; it joins the entries."""
        entry = self._known.get((search, index))
        if entry is None or entry.vector != tuple(vector.tolist()):
            return None
        self.entries.append(entry)
        return entry

    def add(self, entry: Entry) -> None:
        """Keeps a new trial."""
        self.entries.append(entry)
        with self._file.open("a") as stream:
            stream.write(json_text({**asdict(entry), "trial": asdict(entry.trial)}, indent=None) + "\n")

    def _read(self) -> Iterator[Entry]:
        if not self._file.exists():
            return
        for line in self._file.read_text().splitlines():
            try:
                data = json.loads(line)
                yield Entry(
                    data["search"], data["index"], tuple(data["vector"]), data["attack"], Trial(**data["trial"])
                )
            except (ValueError, KeyError, TypeError):
                continue  # a line that was cut short by a kill: that trial runs again
