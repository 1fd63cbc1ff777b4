"""Features of an atom's surroundings that turn like harmonics, and maps linear in them.

The sums over neighbours of :mod:`dft2spectra.density.surroundings`, projected onto their leading
channels, are features of every degree L; so are their products of two, coupled with the integrals
of three real harmonics G,

    F_LM,pq = Σ_mn G_LM,am,bn B_am,p B_bn,q,   a + b + L even.

Products of odd a + b + L change their sign under inversion, which a density does not know. With
weights W the same for all atoms of an element ``c_kLM = Σ_f W_kf F_LM,f`` are coefficients that
turn with the molecule. For the fit features are written out; for a step the sums are contracted
with the weights first, which never makes them.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from dft2spectra.density.couplings import gaunt_coefficients


class Coupled(NamedTuple):
    """A product of degrees ``first`` ≤ ``second`` and the degrees that it couples to.

    Attributes
    ----------
    degrees
        The L.
    gaunt
        For each L, shape ((2 first + 1)(2 second + 1), 2 L + 1).
    """

    first: int
    second: int
    degrees: tuple[int, ...]
    gaunt: tuple[np.ndarray, ...]


@cache
def couplings_to(l_max: int, highest: int) -> tuple[Coupled, ...]:
    """All products of two degrees up to ``l_max`` and their couplings up to ``highest``."""
    gaunt = gaunt_coefficients(max(l_max, highest))
    found = []
    for a in range(l_max + 1):
        for b in range(a, l_max + 1):
            degrees = [L for L in range(b - a, min(a + b, highest) + 1) if (a + b + L) % 2 == 0]
            block = gaunt[a * a : (a + 1) ** 2, b * b : (b + 1) ** 2]
            tensors = [
                block[:, :, L * L : (L + 1) ** 2].reshape(-1, 2 * L + 1).copy() for L in degrees
            ]
            if degrees:
                found.append(Coupled(a, b, tuple(degrees), tuple(tensors)))
    return tuple(found)


def split_degrees(sums: np.ndarray, projections: list[np.ndarray]) -> list[np.ndarray]:
    """Sums (atoms, (l_max + 1)², all) in leading channels: of each degree (atoms, 2 l + 1, Q)."""
    return [sums[:, l * l : (l + 1) ** 2] @ projection for l, projection in enumerate(projections)]


def feature_counts(channels: list[int], highest: int) -> list[int]:
    """Features of each degree up to ``highest``, with so many channels of each degree."""
    l_max = len(channels) - 1
    counts = [channels[L] if l_max >= L else 0 for L in range(highest + 1)]
    for pair in couplings_to(l_max, highest):
        qa, qb = channels[pair.first], channels[pair.second]
        number = qa * (qa + 1) // 2 if pair.first == pair.second else qa * qb
        for L in pair.degrees:
            counts[L] += number
    return counts


def features(parts: list[np.ndarray], highest: int) -> list[np.ndarray]:
    """Features of each degree up to ``highest``, shape (atoms, 2 L + 1, features).

    ``parts`` comes from :func:`split_degrees`. Of a product of one degree with itself each pair of
    channels stands once; factors √2 keep the sum of squares.
    """
    l_max, atoms = len(parts) - 1, len(parts[0])
    found: list[list[np.ndarray]] = [[parts[L]] if l_max >= L else [] for L in range(highest + 1)]
    for a, b, degrees, gaunt in couplings_to(l_max, highest):
        product = parts[a][:, :, None, :, None] * parts[b][:, None, :, None, :]
        product = product.reshape(atoms, (2 * a + 1) * (2 * b + 1), *product.shape[3:])
        for L, tensor in zip(degrees, gaunt, strict=True):
            coupled = np.einsum("xM,axpq->aMpq", tensor, product, optimize=True)
            if a == b:
                i, j = np.triu_indices(coupled.shape[2])
                coupled = coupled[:, :, i, j] * np.where(i == j, 1.0, np.sqrt(2.0))
            else:
                coupled = np.sqrt(2.0) * coupled.reshape(atoms, 2 * L + 1, -1)
            found[L].append(coupled)
    nothing = [np.empty((atoms, 2 * L + 1, 0)) for L in range(highest + 1)]
    return [
        np.concatenate([none, *of_degree], axis=2)
        for none, of_degree in zip(nothing, found, strict=True)
    ]


class LinearMap:
    """Weights on the features of one element, contracted with the sums of its atoms in a step.

    Parameters
    ----------
    weights
        For each degree L, shape (functions, features), features as in :func:`features`.
    projections
        For each degree of the sums, shape (all, channels).
    """

    def __init__(self, weights: list[np.ndarray], projections: list[np.ndarray]) -> None:
        self.projections = projections
        self.counts = [len(w) for w in weights]
        channels = [p.shape[1] for p in projections]
        l_max, highest = len(channels) - 1, len(weights) - 1
        used = [min(channels[L], w.shape[1]) if l_max >= L else 0 for L, w in enumerate(weights)]
        self.linear = [w[:, :n] for w, n in zip(weights, used, strict=True)]
        self.products: list[tuple[Coupled, np.ndarray]] = []
        for pair in couplings_to(l_max, highest):
            qa, qb = channels[pair.first], channels[pair.second]
            tensors = []
            for L in pair.degrees:
                own = weights[L][:, used[L] :]
                tensor = np.zeros((len(own), qa, qb))
                if pair.first == pair.second:
                    i, j = np.triu_indices(qa)
                    half = 0.5 * own[:, : len(i)] * np.where(i == j, 1.0, np.sqrt(2.0))
                    tensor[:, i, j] += half
                    tensor[:, j, i] += half
                    used[L] += len(i)
                else:
                    tensor += np.sqrt(2.0) * own[:, : qa * qb].reshape(-1, qa, qb)
                    used[L] += qa * qb
                tensors.append(tensor.reshape(len(own), -1))
            self.products.append((pair, np.ascontiguousarray(np.concatenate(tensors).T)))

    def forward(self, sums: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Coefficients of each degree (atoms, 2 L + 1, functions), and what `backward` needs."""
        parts = split_degrees(sums, self.projections)
        atoms = len(sums)
        result = [
            parts[L] @ own.T if own.shape[1] else np.zeros((atoms, 2 * L + 1, len(own)))
            for L, own in enumerate(self.linear)
        ]
        for (a, b, degrees, gaunt), weights in self.products:
            rows = (2 * a + 1) * (2 * b + 1)
            product = parts[a][:, :, None, :, None] * parts[b][:, None, :, None, :]
            mapped = (product.reshape(atoms * rows, -1) @ weights).reshape(atoms, rows, -1)
            first = 0
            for L, tensor in zip(degrees, gaunt, strict=True):
                result[L] += tensor.T @ mapped[:, :, first : first + self.counts[L]]
                first += self.counts[L]
        return result, parts

    def backward(self, parts: list[np.ndarray], pull: list[np.ndarray]) -> np.ndarray:
        """Derivative of ``Σ pull · coefficients`` with respect to the sums, in their shape."""
        atoms = len(parts[0])
        slopes = [np.zeros_like(part) for part in parts]
        for L, own in enumerate(self.linear):
            if own.shape[1]:
                slopes[L] += pull[L] @ own
        for (a, b, degrees, gaunt), weights in self.products:
            rows_a, rows_b = 2 * a + 1, 2 * b + 1
            qa, qb = parts[a].shape[2], parts[b].shape[2]
            mapped = np.concatenate(
                [tensor @ pull[L] for L, tensor in zip(degrees, gaunt, strict=True)], axis=2
            )
            slope = (mapped.reshape(atoms * rows_a * rows_b, -1) @ weights.T).reshape(
                atoms, rows_a, rows_b, qa, qb
            )
            slope = slope.transpose(0, 1, 3, 2, 4).reshape(atoms, rows_a * qa, rows_b * qb)
            slopes[a] += (slope @ parts[b].reshape(atoms, -1, 1)).reshape(parts[a].shape)
            slopes[b] += (parts[a].reshape(atoms, 1, -1) @ slope).reshape(parts[b].shape)
        return np.concatenate(
            [s @ p.T for s, p in zip(slopes, self.projections, strict=True)], axis=1
        )
