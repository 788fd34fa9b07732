from itertools import product

import numpy as np
import pandas as pd
import pytest

from heavytail import plots
from heavytail.errors import RequestError
from heavytail.plots.laboratory import PHASE_COLOURS

BATCHES = (2, 32, 1000)
PHASES = dict(zip(BATCHES, ("bulk-decay", "bleeding-out", "random-like"), strict=True))


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    rows = []
    for seed, (k, batch), epoch in product((0, 1), enumerate(BATCHES), (0, 5)):
        common = {"trial": f"b{batch}-s{seed}", "seed": seed, "batch": batch, "epoch": epoch}
        accuracy = 0.1 if epoch == 0 else 0.9 - 0.1 * k + 0.01 * seed
        rows.append(common | {"layer": "", "test_accuracy": accuracy, "mp_softrank": np.nan, "evals": None})
        evals = np.sort(rng.uniform(0.1, 2.0, 60))
        evals[-1] = 20.0 if epoch and batch == 2 else 1.9
        rows.append(
            common
            | {
                "layer": "fc1",
                "test_accuracy": np.nan,
                "mp_softrank": 2.0 / evals[-1],
                "phase": PHASES[batch] if epoch else "random-like",
                "bulk_edge": 2.0,
                "evals": evals,
            }
        )
    return pd.DataFrame(rows)


def dots(axes):
    """Position and colour of every dot."""
    return {
        (round(float(x), 9), round(float(y), 9)): name
        for collection in axes.collections
        for name in [collection.get_label()]
        for x, y in np.asarray(collection.get_offsets())
    }


def test_a_sweep_has_a_dot_for_the_end_of_each_training_in_the_colour_of_its_phase(table):
    figure = plots.sweep(table, "batch")
    soft, accuracy = figure.axes
    ends = table[table["epoch"] == 5]
    layer, network = ends[ends["layer"] == "fc1"], ends[ends["layer"] == ""]
    assert dots(soft) == {(r.batch, round(r.mp_softrank, 9)): r.phase for r in layer.itertuples()}
    assert dots(accuracy) == {(r.batch, round(r.test_accuracy, 9)): PHASES[r.batch] for r in network.itertuples()}
    for axes, rows, column in ((soft, layer, "mp_softrank"), (accuracy, network, "test_accuracy")):
        (means,) = axes.lines
        np.testing.assert_allclose(means.get_ydata(), rows.groupby("batch")[column].mean())
    assert soft.get_xscale() == "log"
    for collection in soft.collections:
        assert np.allclose(collection.get_facecolor()[0][:3], rgb(PHASE_COLOURS[collection.get_label()]))


def rgb(colour):
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_spectra_count_every_eigenvalue_and_colour_those_beyond_the_bulk(table):
    figure = plots.spectra(table, "batch", seed=1)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [
        f"batch size {batch}\n{PHASES[batch]}" for batch in BATCHES
    ]
    for axes, batch in zip(panels, BATCHES, strict=True):
        bars = {round(bar.get_x(), 9): bar for bar in axes.patches}
        row = table[(table["trial"] == f"b{batch}-s1") & (table["layer"] == "fc1") & (table["epoch"] == 5)].iloc[0]
        logs = np.log10(row["evals"])
        within = (logs >= min(bars)).sum()  # the smallest hundredth may lie to the left
        assert within >= 59
        coloured = [
            bar for bar in axes.patches if np.allclose(bar.get_facecolor()[:3], rgb(PHASE_COLOURS[row["phase"]]))
        ]
        assert sum(bar.get_height() for bar in coloured) == (1 if batch == 2 else 0)
        assert axes.lines[0].get_xdata()[0] == pytest.approx(np.log10(2.0))


def test_label_noise_draws_both_accuracies_and_both_gains():
    stopped = pd.DataFrame(
        {
            "randomised": [0.0, 0.5, 1.0] * 2,
            "test_accuracy": [0.9, 0.5, 0.1, 0.88, 0.52, 0.1],
            "stopped_test_accuracy": [0.9, 0.8, 0.1, 0.9, 0.82, 0.12],
        }
    )
    stopped["gain"] = stopped["stopped_test_accuracy"] - stopped["test_accuracy"]
    left, right = plots.label_noise(stopped, {0.0: 0.0, 0.5: 0.1, 1.0: 0.0}).axes
    drawn = [line.get_ydata() for line in left.lines if line.get_gid() != "leader"]
    np.testing.assert_allclose(drawn, [[0.9, 0.81, 0.11], [0.89, 0.51, 0.1]])
    gains = [line.get_ydata() for line in right.lines if line.get_gid() != "leader"][1:]
    np.testing.assert_allclose(gains, [[0.01, 0.3, 0.01], [0.0, 0.1, 0.0]], atol=1e-12)
    assert {text.get_text() for text in right.texts} == {"networks", "theory"}


def test_a_layer_that_is_not_there_is_refused_with_those_that_are(table):
    with pytest.raises(RequestError, match="no layer 'fc9' in the table; there are fc1"):
        plots.sweep(table, "batch", layer="fc9")
