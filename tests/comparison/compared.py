"""Two synthetic models with every kind of change, tensors without a counterpart and a hostile name."""

from functools import cache

import numpy as np
from report.sample import HOSTILE

from heavytail.comparison import compare

N, M, RANK = 160, 96, 3
LAYERS = 9


def models():
    """The base and the tuned model, as mappings of names to arrays."""
    rng = np.random.default_rng(7)

    def noise(*shape):
        return rng.standard_normal(shape) / np.sqrt(M)

    base, tuned = {}, {}
    for i in range(LAYERS):
        W = noise(N, M)
        base[f"layers.{i}.noise"], tuned[f"layers.{i}.noise"] = W, W + 0.01 * noise(N, M)
        base[f"layers.{i}.bias"], tuned[f"layers.{i}.bias"] = np.ones(M), np.full(M, 1 + 0.01 * i)
    W, direction = noise(N, M), np.outer(noise(N), noise(M))
    base["spiked"], tuned["spiked"] = W, W + 0.01 * noise(N, M) + 0.3 * direction
    base["lora"] = noise(N, M)
    tuned["lora"] = base["lora"] + 6 * noise(N, RANK) @ noise(RANK, M)
    left, right = (np.linalg.qr(rng.standard_normal((n, M)))[0] for n in (N, M))
    base["dense"] = noise(N, M)
    tuned["dense"] = base["dense"] + 0.1 * (left / np.arange(1, M + 1)) @ right.T
    base["frozen"] = tuned["frozen"] = noise(N, M)
    base["narrow"], tuned["narrow"] = noise(40, 3), noise(40, 3)
    base["conv"] = noise(64, 32, 3, 3)
    tuned["conv"] = base["conv"] + 0.01 * noise(64, 32, 3, 3)
    base["head"], tuned["head"] = noise(10, M), noise(12, M)
    tuned[HOSTILE] = noise(N, M)
    return base, tuned


@cache
def comparison():
    return compare(*models(), jobs=1)
