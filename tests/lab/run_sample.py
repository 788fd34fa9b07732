"""Runs of the laboratory made by hand: numbers that are known, and spectra with a bulk, an edge and spikes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from heavytail.lab.experiments import experiment_of
from heavytail.lab.recipe import Recipe
from heavytail.lab.run import Run

BATCHES, SEEDS, EPOCHS, LAYERS = (2, 8, 500), (0, 1, 2), (0, 1, 4, 20), ("fc1", "fc2")
EDGE = 3.0
_RECIPE = Recipe(network="minialexnet", data="digits", epochs=20, train=100, test=50)


def trials(batches=BATCHES, seeds=SEEDS):
    return {f"b{batch}-s{seed}": replace(_RECIPE, batch=batch, seed=seed) for batch in batches for seed in seeds}


def softrank(batch, seed, epoch, layer="fc1"):
    return 1 - 0.03 * np.log2(1000 / batch) * np.log1p(epoch) / np.log(21) * (1 + 0.1 * seed) - 0.1 * (layer == "fc2")


def accuracy(batch, seed, epoch):
    return 0.1 + 0.25 * np.log1p(epoch) - 0.02 * np.log10(batch) + 0.003 * seed


def spikes(batch, epoch):
    return 4 if batch == 2 and epoch else 0


def phase(batch, seed, epoch):
    if batch == 2 and epoch:
        return "bulk+spikes"
    return "bleeding-out" if batch == 8 and seed == 2 and epoch == 20 else "random-like"


def evals(batch, seed, epoch):
    rng = np.random.default_rng([batch, seed, epoch])
    bulk = np.linalg.svd(rng.normal(size=(120, 60)), compute_uv=False) ** 2 / 120
    beyond = 4 + np.arange(spikes(batch, epoch)) * (1 + epoch)
    return np.sort(np.concatenate([np.minimum(bulk[: 60 - len(beyond)], EDGE), beyond]))


def rows(name, recipe, layers=LAYERS):
    constant = {"experiment": "E21", "trial": name, **recipe.as_dict(), "checksum": "0" * 64}
    found = []
    for epoch in EPOCHS:
        seen = (recipe.batch, recipe.seed, epoch)
        look = {**constant, "epoch": epoch, "step": epoch * -(-100 // recipe.batch)}
        test = accuracy(*seen)
        network = {
            "train_loss": 1.2 - test, "train_accuracy": min(1.0, test + 0.1), "validation_loss": np.nan,
            "test_loss": 1.3 - test, "test_accuracy": test, "log_path_norm": 2 - test, "margin_mean": test - 0.5,
        }  # fmt: skip
        found.append({**look, "layer": "", **network})
        eigenvalues = evals(*seen)
        measured = {
            "status": "ok", "phase": phase(*seen), "phase_probability": 0.8, "stable_rank": 20.0 + recipe.seed,
            "alpha": 3.5, "entropy": 0.9 - epoch / 100, "lambda_max": eigenvalues[-1], "bulk_edge": EDGE,
            "num_spikes": float(spikes(recipe.batch, epoch)), "evals": eigenvalues,
        }  # fmt: skip
        found += [{**look, "layer": name, "mp_softrank": softrank(*seen, name), **measured} for name in layers]
    return pd.DataFrame(found)


def write(folder, recipes=None, missing=(), layers=LAYERS, identity="E21"):
    """Write the folder of a run of which some trainings are missing."""
    recipes = trials() if recipes is None else recipes
    run = Run.create(Path(folder), experiment_of(identity), "quick", recipes)
    for name in set(recipes) - set(missing):
        rows(name, recipes[name], layers).to_parquet(run.rows_of(name), index=False)
    return run


def spoil(folder, **values):
    """Overwrite parts of the description of a run."""
    file = Path(folder) / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
