"""The page of a run: what its script is given, and that it needs nothing else."""

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
from lab import run_sample as sample
from pages import Page, needs_nothing_else
from report.sample import HOSTILE
from scipy import stats

from heavytail.errors import SourceError
from heavytail.lab.experiments.experiment import Published
from heavytail.lab.page import render
from heavytail.lab.payload import payload, spectrum_bins
from heavytail.lab.summary import Summary, settings_of
from heavytail.lab.wording import range_text
from heavytail.rmt.ensembles.phases import PHASES

pytest.importorskip("pyarrow", reason="a run's table is Parquet")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sample.write(tmp_path_factory.mktemp("lab") / "run", missing=["b8-s1"])


@pytest.fixture(scope="module")
def text(run):
    return render(run)


@pytest.fixture(scope="module")
def data(text):
    return Page(text).data


def test_the_page_needs_nothing_else(text):
    assert needs_nothing_else(text)


def test_the_same_run_gives_the_same_page(run, text):
    assert render(run) == text


def test_a_run_writes_its_page(run, text, tmp_path):
    run.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text


def test_the_verdict_comes_before_any_chart(run, text):
    for finding in run.findings:
        assert text.index(f">{finding.judgement.value}</span>") < text.index('id="curves"')
        assert finding.statement.measure in text
    counts = {word: sum(f.judgement.value == word for f in run.findings) for word in ("holds", "undecided")}
    assert f"{counts['holds']} hold" in text
    assert f"{counts['undecided']} {'is' if counts['undecided'] == 1 else 'are'} undecided" in text


def test_it_says_what_is_other_than_published_and_what_is_not_finished(run, text):
    assert "a quick run on digits" in text
    assert "1 training is still to be done" in text
    assert "8 of 9 trainings finished" in text
    assert "0" * 64 in text  # the checksum of the data


def test_the_recipe_is_told_what_differs_first(text):
    recipe = text[text.index("<summary>Recipe") :].split("</details>")[0]
    assert recipe.index("<dt>batch</dt><dd>2, 8, 500</dd>") < recipe.index("<dt>network</dt><dd>minialexnet</dd>")
    assert "<dt>seed</dt><dd>0, 1, 2</dd>" in recipe


def test_settings_stand_along_the_axis(data):
    assert [(one["label"], one["value"], one["place"]) for one in data["settings"]] == [
        ("2", 2, 0),
        ("8", 8, 1),
        ("500", 500, 2),
    ]


def test_every_training_arrives_with_its_numbers_along_time(data):
    found = {(data["settings"][one["setting"]]["value"], one["seed"]): one for one in data["trials"]}
    assert set(found) == {(b, s) for b in sample.BATCHES for s in sample.SEEDS} - {(8, 1)}
    for (batch, seed), trial in found.items():
        assert trial["network"]["epoch"] == list(sample.EPOCHS)
        assert trial["network"]["step"] == [epoch * int(np.ceil(100 / batch)) for epoch in sample.EPOCHS]
        expected = [sample.accuracy(batch, seed, epoch) for epoch in sample.EPOCHS]
        assert trial["network"]["columns"]["test_accuracy"] == pytest.approx(expected, rel=5e-6)
        for layer, of_layer in zip(sample.LAYERS, trial["layers"], strict=True):
            soft = [sample.softrank(batch, seed, epoch, layer) for epoch in sample.EPOCHS]
            assert of_layer["columns"]["mp_softrank"] == pytest.approx(soft, rel=5e-6)
            assert of_layer["phase"] == [sample.phase(batch, seed, epoch) for epoch in sample.EPOCHS]
    assert data["layers"] == list(sample.LAYERS)


def test_columns_without_a_number_are_not_offered(data):
    assert "test_loss" in data["columns"]["network"]
    assert "validation_loss" not in data["columns"]["network"]
    assert "alpha_weighted" not in data["columns"]["layer"]


def test_every_eigenvalue_is_in_a_bin_or_counted_as_too_small(data):
    for trial in data["trials"]:
        batch = data["settings"][trial["setting"]]["value"]
        for span, layer in zip(data["ranges"], trial["layers"], strict=True):
            for one in layer["spectra"]:
                epoch = layer["epoch"][one["look"]]
                values = sample.evals(batch, trial["seed"], epoch)
                assert sum(one["bulk"]) + sum(count for _, count in one["spikes"]) + one["below"] == values.size
                assert sum(count for _, count in one["spikes"]) == sample.spikes(batch, epoch)
                assert one["edge"] == pytest.approx(np.log10(sample.EDGE), rel=1e-3)
                assert one["largest"] == pytest.approx(values.max(), rel=1e-3)
                assert span[0] < np.log10(values.max()) < span[1]


@pytest.mark.parametrize("spikes", [0, 3, nan])
def test_bins_are_those_of_numpy(spikes):
    values = np.sort(np.random.default_rng(2).lognormal(size=200))
    span = (-0.5, 1.5)
    found = spectrum_bins(values, 2.0, spikes, span)
    count = 0 if np.isnan(spikes) else spikes
    edges = np.linspace(*span, len(found["bulk"]) + 1)
    drawn = np.log10(values[values > 10 ** span[0]])
    assert found["bulk"] == np.histogram(drawn[: drawn.size - count], edges)[0].tolist()
    beyond = np.histogram(drawn[drawn.size - count :], edges)[0]
    assert found["spikes"] == [[k, beyond[k]] for k in np.flatnonzero(beyond)]
    assert found["below"] == np.count_nonzero(np.log10(values) <= span[0])


@pytest.mark.parametrize(("edge", "expected"), [(nan, None), (0.0, None), (100.0, 2)])
def test_an_edge_that_is_missing_is_null(edge, expected):
    assert spectrum_bins(np.ones(3), edge, 0, (-1, 3))["edge"] == expected


def test_the_ends_are_means_with_students_intervals(data):
    for setting, ends in zip(data["settings"], data["ends"], strict=True):
        seeds = [seed for seed in sample.SEEDS if (setting["value"], seed) != (8, 1)]
        values = [sample.accuracy(setting["value"], seed, 20) for seed in seeds]
        interval = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        expected = [np.mean(values), *interval, len(values)]
        assert ends["network"]["test_accuracy"] == pytest.approx(expected, rel=5.1e-4)


def test_capacity_is_ordered_against_the_test_error(data):
    found = {row["label"]: row for row in data["capacity"]["rows"]}
    assert next(iter(found)) == "test error"
    assert data["capacity"]["heads"] == [str(batch) for batch in sample.BATCHES]
    assert found["log₁₀ path norm"]["tau"][0] == 1  # it is 2 - accuracy
    assert found["margin, mean"]["tau"][0] == -1  # it is accuracy - 0.5
    assert found["test error"]["tau"] is None
    error = 1 - np.mean([sample.accuracy(500, seed, 20) for seed in sample.SEEDS])
    assert found["test error"]["values"][2][0] == pytest.approx(error, rel=5.1e-4)


def test_along_time_capacity_is_ordered_over_the_looks(tmp_path):
    run = sample.write(tmp_path / "run", recipes=sample.trials(batches=(8,)), identity="E16")
    found = payload(Summary(run))["capacity"]
    assert (found["axis"], found["heads"]) == ("epoch", [str(epoch) for epoch in sample.EPOCHS])
    taus = {row["label"]: row["tau"] for row in found["rows"]}
    assert taus["margin, mean"] == [-1, -1, -1, 3]
    at_last = next(row for row in found["rows"] if row["label"] == "test error")["values"][-1]
    assert at_last[0] == pytest.approx(1 - np.mean([sample.accuracy(8, s, 20) for s in sample.SEEDS]), rel=5.1e-4)
    assert 'id="ends"' not in render(run)


def test_at_most_eight_spectra_of_a_training_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "EPOCHS", tuple(range(21)))
    run = sample.write(tmp_path / "run", recipes=sample.trials(batches=(2,), seeds=(0,)))
    (trial,) = payload(Summary(run))["trials"]
    looks = [one["look"] for one in trial["layers"][0]["spectra"]]
    assert len(looks) == 8
    assert (looks[0], looks[-1]) == (0, 20)
    assert set(np.diff(looks)) == {2, 3} or set(np.diff(looks)) == {3}
    assert len(trial["layers"][0]["phase"]) == 21


def test_a_run_without_followed_layers_has_a_page(tmp_path):
    recipes = sample.trials(batches=(2,), seeds=(0, 1))
    run = sample.write(tmp_path / "run", recipes=recipes, layers=(), identity="T6-pixels")
    data = payload(Summary(run))
    assert (data["layers"], data["ranges"]) == ([], [])
    assert all(trial["layers"] == [] for trial in data["trials"])


def test_nothing_finished_has_no_page(tmp_path):
    run = sample.write(tmp_path / "run", missing=sample.trials())
    with pytest.raises(SourceError, match="none of 9 trainings is finished"):
        render(run)


def test_hostile_names_of_layers_stay_texts(tmp_path):
    run = sample.write(tmp_path / "run", recipes=sample.trials(seeds=(0,)), layers=("fc1", HOSTILE))
    text = render(run)
    page = Page(text)
    assert HOSTILE not in text
    assert "img" not in page.tags
    assert page.data["layers"] == ["fc1", HOSTILE]
    assert text.encode("utf-8")


def test_phases_are_told_in_their_order_with_what_they_mean(data):
    assert list(data["meanings"])[: len(PHASES)] == list(PHASES)


def test_settings_tell_what_differs_beside_the_axis_and_nothing_that_goes_with_it():
    base = next(iter(sample.trials().values()))
    trials = {
        f"{batch}-{rate}-{seed}": replace(base, batch=batch, rate=rate, epochs=batch, seed=seed)
        for seed in (0, 1)
        for batch in (8, 2)
        for rate in (0.2, 0.1)
    }
    found = settings_of(trials, "batch")
    assert [one.label for one in found] == ["2, rate 0.1", "2, rate 0.2", "8, rate 0.1", "8, rate 0.2"]
    assert found[0].trials == ("2-0.1-0", "2-0.1-1")
    assert [one.label for one in settings_of(trials, "pixels")] == [
        "2, rate 0.1", "2, rate 0.2", "8, rate 0.1", "8, rate 0.2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1e-9, 1, "above 0, up to 1"),
        (1e-9, inf, "above 0"),
        (-1, -1e-9, "below 0, down to −1"),
        (0.2, inf, "from 0.2"),
        (-inf, 3, "up to 3"),
        (0, 0.3, "from 0 to 0.3"),
    ],
)
def test_ranges_are_told_in_words(low, high, said):
    assert range_text(Published("x", low, high, "says")) == said
