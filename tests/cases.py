"""Matrices, tensors and sources that several tests share; every random one is seeded."""

from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from heavytail.weights.tensor import Source, Tensor

FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def numpy_type(dtype):
    """The numpy type called `dtype`."""
    return np.dtype(getattr(ml_dtypes, dtype, None) or dtype)


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def student(*shape, df=2.0, seed=0):
    """Heavy-tailed entries: the density of the entries falls as |w|^-(1 + df)."""
    return np.random.default_rng(seed).standard_t(df, shape)


def low_rank(rows, columns, rank, seed=0, dtype="float64"):
    """A product of two Gaussian factors, multiplied in the type itself as a training framework would."""
    rng = np.random.default_rng(seed)
    left, right = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, rank), (rank, columns)))
    return left @ right


def orthogonal(n, seed=0):
    return np.linalg.qr(gaussian(n, n, seed=seed))[0]


def with_eigenvalues(evals, rows, seed=0):
    """A (rows, len(evals)) matrix whose W^T W has these eigenvalues."""
    columns = len(evals)
    left = np.linalg.qr(gaussian(rows, columns, seed=seed))[0]
    right = orthogonal(columns, seed=seed + 1)
    return left * np.sqrt(np.asarray(evals, dtype=float)) @ right.T


def pareto(n, alpha, seed=0):
    """A sorted sample with density (alpha - 1) x^-alpha above 1."""
    u = np.random.default_rng(seed).random(n)
    return np.sort((1 - u) ** (-1 / (alpha - 1)))


def hadamard(n):
    """A matrix of +1 and -1 with orthogonal columns (Sylvester); n is a power of two."""
    H = np.ones((1, 1))
    while len(H) < n:
        H = np.block([[H, H], [H, -H]])
    return H


def spiked(rows, columns, spikes, seed=0):
    """Gaussian noise plus a few large singular values."""
    W = gaussian(rows, columns, seed=seed)
    U = np.linalg.qr(gaussian(rows, len(spikes), seed=seed + 1))[0]
    V = np.linalg.qr(gaussian(columns, len(spikes), seed=seed + 2))[0]
    return W + U * np.asarray(spikes, dtype=float) @ V.T


def zoo():
    """One small matrix of every kind that has broken a program."""
    dead = gaussian(60, 40, seed=5)
    dead[:, :7] = 0
    dead[50:] = 0
    return {
        "gaussian": gaussian(60, 40),
        "square": gaussian(40, 40, seed=1),
        "wide": gaussian(30, 90, seed=2),
        "tall": gaussian(2100, 25, seed=3),
        "student": student(80, 60, seed=4),
        "cauchy": student(80, 60, df=1.0, seed=4),
        "low rank": low_rank(60, 40, 5),
        "rank one": np.outer(np.arange(1.0, 61), np.arange(1.0, 41)),
        "identity": np.eye(40),
        "orthogonal": orthogonal(40),
        "constant": np.full((60, 40), 0.1),
        "zero": np.zeros((60, 40)),
        "one entry": np.eye(60, 40) * (np.arange(40) == 3),
        "dead filters": dead,
        "spiked": spiked(80, 50, [30.0, 25.0, 20.0]),
        "tied eigenvalues": with_eigenvalues(np.repeat([1.0, 2.0, 5.0, 9.0], 10), 60),
        "badly scaled": gaussian(60, 40, seed=6) * np.geomspace(1e-8, 1e8, 40),
        "one column": gaussian(50, 1, seed=7),
        "one row": gaussian(1, 50, seed=8),
        "one number": np.array([[3.0]]),
        "two by two": np.array([[1.0, 2.0], [3.0, 4.0]]),
    }


@dataclass
class Reads:
    """What was read of a source: one entry (name, largest block in bytes, bytes) a reading."""

    log: list = field(default_factory=list)

    def names(self):
        return [name for name, *_ in self.log]


def tensor(name, array, hint=None, storage=None, reads=None, problem=None):
    """Describe an array as a container would, and note what is read of it."""
    array = np.asarray(array)

    def blocks(rows):
        entry = [name, 0, 0]
        if reads is not None:
            reads.log.append(entry)
        for first in range(0, len(array), rows):
            block = array[first : first + rows].view()
            block.flags.writeable = False
            entry[1] = max(entry[1], block.nbytes)
            entry[2] += block.nbytes
            yield block

    dtype = array.dtype.name
    return Tensor(name, array.shape, dtype, blocks, "test", storage, problem, hint)


def source(arrays, reads=None):
    """Make a source of a mapping of arrays (or tensors)."""
    tensors = (a if isinstance(a, Tensor) else tensor(n, a, reads=reads) for n, a in arrays.items())
    return Source("test", "memory", (), tuple(tensors))
