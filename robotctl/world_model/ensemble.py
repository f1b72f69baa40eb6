"""A small ensemble of multilayer perceptrons, evaluated in NumPy: what training with JAX leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ensemble:
    """M networks of the same shape with tanh units: y = W2 tanh(W1 tanh(W0 x + b0) + b1) + b2."""

    weights: tuple[np.ndarray, ...]  # layers of (M, n_out, n_in)
    biases: tuple[np.ndarray, ...]  # layers of (M, n_out)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs of every member, (n, n_in) -> (M, n, n_out)."""
        value: np.ndarray = x
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = value @ w.transpose(0, 2, 1) + b[:, None]
            if layer < len(self.weights) - 1:
                value = np.tanh(value)
        return value

    def mean_jacobian(self, x: np.ndarray, outputs: int | None = None) -> np.ndarray:
        """Jacobian of the mean output by the input, (n, n_in) -> (n, n_out, n_in); `outputs`: the first few."""
        slopes: list[np.ndarray] = []
        value: np.ndarray = x
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            value = np.tanh(value @ w.transpose(0, 2, 1) + b[:, None])
            slopes.append(1.0 - value * value)
        last = self.weights[-1][:, None, :outputs]
        members, n, y = len(last), len(x), last.shape[2]
        jacobian = np.broadcast_to(last, (members, n, *last.shape[2:]))
        for w, slope in zip(self.weights[-2::-1], slopes[::-1], strict=True):  # backwards: few outputs, many inputs
            product = (jacobian * slope[:, :, None]).reshape(members, n * y, -1) @ w
            jacobian = product.reshape(members, n, y, -1)
        return jacobian.mean(axis=0)

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
        if not weights or any(w.ndim != 3 for w in weights):
            raise ValueError(f"'{prefix}' has no layers of shape (members, out, in)")
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            if b.shape != w.shape[:2] or (i and w.shape[2] != weights[i - 1].shape[1]) or len(w) != len(weights[0]):
                raise ValueError(f"layer {i} of '{prefix}' does not fit its neighbours")
        return cls(weights, biases)
