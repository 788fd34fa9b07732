"""Layers on which WeightWatcher 0.7.7 goes its own ways; data/weightwatcher-0.7.7-odd-layers.csv is its table."""

import numpy as np


def odd_layers():
    rng = np.random.default_rng(77)
    shapes = {
        "small_8": (8, 8),
        "small_12": (9, 12),
        "even_kernel": (4, 8, 2, 2),
        "odd_kernel": (4, 8, 3, 3),
        "lenet": (6, 1, 5, 5),
        "wide_kernel": (4, 4, 16, 16),
        "depthwise": (32, 1, 3, 3),
        "patches": (24, 3, 8, 8),
        "tall": (300, 40),
    }
    layers = {f"{name}.weight": rng.standard_normal(shape) for name, shape in shapes.items()}
    layers["rank_5.weight"] = rng.standard_normal((30, 5)) @ rng.standard_normal((5, 20))
    layers["identity.weight"] = np.eye(30)
    layers["zero.weight"] = np.zeros((20, 30))
    layers["thousandth.weight"] = 1e-3 * rng.standard_normal((20, 30))
    layers["hundredth.weight"] = 1e-2 * rng.standard_normal((60, 90))
    return {name: W.astype(np.float32) for name, W in layers.items()}  # it would round float64 to float32
