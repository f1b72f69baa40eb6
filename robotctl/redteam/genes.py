"""A bounded vector as named numbers and choices: what a search moves, and what an adversary reads from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Span:
    """A number between two bounds."""

    name: str
    low: float
    high: float

    def read(self, share: float) -> float:
        return round(self.low + share * (self.high - self.low), 6)


@dataclass(frozen=True)
class Choice:
    """One of several words, each with an equal part of the axis."""

    name: str
    words: tuple[str, ...]

    def read(self, share: float) -> str:
        return self.words[min(int(share * len(self.words)), len(self.words) - 1)]


Gene = Span | Choice


class Genes:
    """Names for the axes of a vector in [0, 1]^n."""

    def __init__(self, genes: Sequence[Gene]) -> None:
        self.genes = tuple(genes)

    def __len__(self) -> int:
        return len(self.genes)

    def vector(self, numbers: Mapping[str, float], words: Mapping[str, str]) -> np.ndarray:
        """The vector (n,) that reads as these numbers and words; the middle of every axis that is not named."""
        out = np.full(len(self.genes), 0.5)
        for i, gene in enumerate(self.genes):
            if isinstance(gene, Span) and gene.name in numbers:
                out[i] = (numbers[gene.name] - gene.low) / max(gene.high - gene.low, 1e-12)
            elif isinstance(gene, Choice) and gene.name in words:
                out[i] = (gene.words.index(words[gene.name]) + 0.5) / len(gene.words)
        return np.clip(out, 0.0, 1.0)

    def read(self, vector: np.ndarray) -> Reading:
        """Numbers and words at `vector` (n,); what lies outside [0, 1] is brought back to its edge."""
        shares = np.clip(np.nan_to_num(np.asarray(vector, float)), 0.0, 1.0)
        return Reading({gene.name: gene.read(float(x)) for gene, x in zip(self.genes, shares, strict=True)})


class Reading:
    """What a vector says, by name."""

    def __init__(self, values: dict[str, float | str]) -> None:
        self._values = values

    def number(self, name: str) -> float:
        value = self._values[name]
        assert isinstance(value, float)
        return value

    def word(self, name: str) -> str:
        value = self._values[name]
        assert isinstance(value, str)
        return value


def direction(azimuth: float, height: float) -> np.ndarray:
    """Unit vector (3,) of an azimuth [rad] and a height in [-1, 1]; uniform on the sphere for uniform arguments."""
    flat = np.sqrt(max(1.0 - height * height, 0.0))
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), height])
