"""A small ensemble of multilayer perceptrons, evaluated in NumPy: what training with JAX leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Ensemble:
    """M networks of the same shape with tanh units: y = W2 tanh(W1 tanh(W0 x + b0) + b1) + b2."""

    weights: tuple[np.ndarray, ...]  # layers of (M, n_out, n_in)
    biases: tuple[np.ndarray, ...]  # layers of (M, n_out)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs of every member, (n, n_in) or, each for its own, (..., M, n, n_in) -> (..., M, n, n_out)."""
        return self._hidden(x)[-1] @ self.weights[-1].transpose(0, 2, 1) + self.biases[-1][:, None]

    def mean(self, x: np.ndarray) -> np.ndarray:
        """The members' mean output, (n, n_in) -> (n, n_out): the last layer of all members is one product."""
        value = self._hidden(x)[-1]
        members, n, hidden = value.shape
        joined = value.transpose(1, 0, 2).reshape(n, members * hidden)
        return np.asarray(joined @ self._last + self._last_bias)

    def mean_jacobian(self, x: np.ndarray, outputs: int | None = None) -> np.ndarray:
        """Jacobian of the mean output by the input, (n, n_in) -> (n, n_out, n_in); `outputs`: the first few."""
        slopes = [1.0 - value * value for value in self._hidden(x)]
        last = self.weights[-1][:, None, :outputs]
        members, n, y = len(last), len(x), last.shape[2]
        jacobian = last * slopes[-1][:, :, None]
        for w, slope in zip(self.weights[-2:0:-1], slopes[-2::-1], strict=True):  # backwards: few outputs, many inputs
            jacobian = (jacobian.reshape(members, n * y, -1) @ w).reshape(members, n, y, -1) * slope[:, :, None]
        joined = jacobian.transpose(1, 2, 0, 3).reshape(n * y, -1)
        return np.asarray(joined @ self._first).reshape(n, y, -1)

    def _hidden(self, x: np.ndarray) -> list[np.ndarray]:
        """Values (M, n, hidden) of every hidden layer."""
        values: list[np.ndarray] = []
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values.append(np.tanh((values[-1] if values else x) @ w.transpose(0, 2, 1) + b[:, None]))
        return values

    @cached_property
    def _last(self) -> np.ndarray:
        """The last layers below each other, (M * hidden, n_out), for the mean."""
        w = self.weights[-1]
        return np.ascontiguousarray(w.transpose(0, 2, 1).reshape(-1, w.shape[1])) / np.float32(len(w))

    @cached_property
    def _last_bias(self) -> np.ndarray:
        return np.asarray(self.biases[-1].mean(axis=0))

    @cached_property
    def _first(self) -> np.ndarray:
        """The first layers below each other, (M * hidden, n_in), for the mean."""
        w = self.weights[0]
        return w.reshape(-1, w.shape[2]) / np.float32(len(w))

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """The weights by name, for storage."""
        out = {f"{prefix}.w{i}": w for i, w in enumerate(self.weights)}
        return {**out, **{f"{prefix}.b{i}": b for i, b in enumerate(self.biases)}}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], prefix: str) -> Ensemble:
        """The counterpart of `arrays`; KeyError or ValueError when layers are missing or do not fit."""
        count = sum(name.startswith(f"{prefix}.w") for name in arrays)
        weights = tuple(arrays[f"{prefix}.w{i}"].astype(np.float32) for i in range(count))
        biases = tuple(arrays[f"{prefix}.b{i}"].astype(np.float32) for i in range(count))
        if len(weights) < 2 or any(w.ndim != 3 for w in weights):
            raise ValueError(f"'{prefix}' has no two layers of shape (members, out, in)")
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            if b.shape != w.shape[:2] or (i and w.shape[2] != weights[i - 1].shape[1]) or len(w) != len(weights[0]):
                raise ValueError(f"layer {i} of '{prefix}' does not fit its neighbours")
        return cls(weights, biases)
