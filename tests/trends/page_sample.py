"""Tables of models for the page: series that fall while their pool rises, small ones, gaps, and hostile texts."""

import numpy as np
from report.sample import HOSTILE

from heavytail.trends import ModelTable

SIZES = {"Wide": 8, "Deep": 7, "Small": 4, "Pair": 2, "Lone": 1}


def table():
    """Five series: within each quality falls by 3 for one alpha; from series to series it rises by 6 for two."""
    rng = np.random.default_rng(3)
    groups = [name for name, size in SIZES.items() for _ in range(size)]
    series = np.array([list(SIZES).index(name) for name in groups])
    n = len(groups)
    alpha = 2 + 2 * series + rng.uniform(-1, 1, n)
    quality = 60 + 6 * series - 3 * (alpha - 2 - 2 * series) + rng.normal(0, 0.2, n)
    spoiled = rng.normal(size=n)
    spoiled[: SIZES["Wide"] - 2] = np.nan
    counts = {name: 0 for name in SIZES}
    models = []
    for name in groups:
        counts[name] += 1
        models.append(f"{name.lower()}-{counts[name]}")
    return ModelTable(
        models=tuple(models),
        groups=tuple(groups),
        metrics={
            "stable_rank": rng.normal(size=n),
            "alpha": alpha,
            "log_norm": spoiled,
            "mp_softrank": alpha * 1e-9,
            "entropy": np.ones(n),
            "alpha_hill": 20 - alpha,
        },
        quality=quality,
        quality_name="top1_accuracy",
        higher_is_better=True,
        notes=("left out, without top1_accuracy: deep-9",),
    )


def hostile():
    """Every text of a table is markup; and half a surrogate pair."""
    rng = np.random.default_rng(0)
    groups = [HOSTILE] * 6 + ["\udc80 other"] * 6
    return ModelTable(
        models=tuple(f"{HOSTILE}{k}" for k in range(12)),
        groups=tuple(groups),
        metrics={HOSTILE: rng.normal(size=12), "a/b c&d=%20": rng.normal(size=12), "ln(x')": rng.normal(size=12)},
        quality=rng.normal(size=12),
        quality_name=HOSTILE,
        higher_is_better=False,
        notes=(HOSTILE, "\ud800"),
    )


def large(metrics=10):
    """As many models, series and metrics as the largest published table has."""
    rng = np.random.default_rng(1)
    sizes = [22, 22, 14, 12, 12, 10, 9, 7, 6, 5, *[4] * 4, *[3] * 5, *[2] * 9, *[1] * 7]
    groups = [f"architecture family {k}" for k, size in enumerate(sizes) for _ in range(size)]
    n = len(groups)
    return ModelTable(
        models=tuple(f"some_architecture_with_{k}_layers" for k in range(n)),
        groups=tuple(groups),
        metrics={f"metric_{k}": rng.normal(size=n) for k in range(metrics)},
        quality=rng.uniform(15, 60, n),
        quality_name="top1_error",
        higher_is_better=False,
    )
