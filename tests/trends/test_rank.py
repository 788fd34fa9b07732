import json
from math import sqrt
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from trends.model_rows import network, report, row

from heavytail.errors import RequestError, SourceError
from heavytail.trends import trends
from heavytail.trends.evidence import ACROSS, OVERCONFIDENT, PUBLISHED, UNITS, Evidence, measure
from heavytail.trends.rank import rank
from heavytail.trends.table import ModelTable

DATA = Path(__file__).parents[3] / "shared" / "published" / "model_metrics.csv"


@pytest.fixture
def family():
    """Four models of one family, given worst first."""
    return [network(f"net{k}", alpha, depth=3 + k) for k, alpha in enumerate((5.0, 4.0, 3.0, 2.0))]


def evidence_of(tmp_path, metrics, quality, groups, higher=True):
    """The file that trends writes for these models."""
    names = tuple(f"m{k}" for k in range(len(quality)))
    table = ModelTable(names, groups, metrics, np.asarray(quality, float), "score", higher)
    trends(table, resamples=200).to_json(tmp_path / "trends.json")
    return tmp_path / "trends.json"


# --- the order ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [None, "alpha_weighted", "log_alpha_norm"])
def test_models_stand_in_the_known_order_whatever_the_order_they_are_given_in(family, metric):
    for sources in (family, family[::-1], [family[k] for k in (2, 0, 3, 1)]):
        ranking = rank(sources, metric)
        assert [one.model for one in ranking.models] == ["net3", "net2", "net1", "net0"]
        assert [one.place for one in ranking.models] == [1, 2, 3, 4]
        assert all(one.gap > 0 and 0.5 < one.better < 1 for one in ranking.models[:-1])
        assert np.isnan([ranking.models[-1].gap, ranking.models[-1].better]).all()


def test_the_published_evidence_chooses_the_metric_that_orders_most_pairs_rightly(family):
    best = max(found.right for found in PUBLISHED.values())
    assert PUBLISHED[rank(family).metric].right == best


def test_the_standard_error_is_that_of_a_mean_of_independent_layers(tmp_path):
    halves, lambdas = (0.3, 0.6, 1.2), (2.0, 5.0, 0.5)
    rows = [
        row(f"b.{k}.fc", half=half, lambda_max=top) for k, (half, top) in enumerate(zip(halves, lambdas, strict=True))
    ]
    sd = np.array(halves) / NormalDist().inv_cdf(0.975)
    other = network("other", 3, prefix="b", depth=1)
    quality = np.arange(12.0)
    path = evidence_of(tmp_path, dict.fromkeys(("alpha", "alpha_weighted", "log_norm"), -quality), quality, ("A",) * 12)
    for metric, weights in (("alpha", np.ones(3)), ("alpha_weighted", np.log10(lambdas)), ("log_norm", np.zeros(3))):
        [found] = [one for one in rank([report("a", *rows), other], metric, path).models if one.model == "a"]
        np.testing.assert_allclose(found.standard_error, sqrt(((sd * weights) ** 2).sum()) / 3, rtol=1e-9, atol=1e-15)


def test_wide_intervals_make_the_order_less_sure():
    sure = [rank([network("a", 3.0, half=half), network("b", 3.6, half=half)]).first for half in (0.01, 1, 5, 50)]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] - sure[-1] > 0.05


def test_the_probability_is_the_mean_of_the_evidence_over_drawn_differences():
    a, b = network("a", 3.0, half=1.0, depth=2), network("b", 4.5, half=2.0, depth=2)
    ranking = rank([a, b])
    rng = np.random.default_rng(0)
    first, second = ranking.models
    draws = [one.value + one.standard_error * rng.standard_normal(200_000) for one in (first, second)]
    expected = PUBLISHED["alpha_weighted"].sure(draws[1] - draws[0]).mean()
    assert first.better == pytest.approx(expected, abs=0.002)


def test_the_first_is_best_as_luce_has_it(family):
    ranking = rank(family)
    found = PUBLISHED[ranking.metric]
    strengths = [1.0]
    for other in ranking.models[1:]:
        pair = {ranking.models[0].model, other.model}
        p = rank([model for model in family if model.source["name"] in pair]).models[0].better
        strengths.append((1 - p) / p)
    assert ranking.first == pytest.approx(1 / sum(strengths))
    assert found.right > ranking.first > 1 / len(family)


def test_equal_models_are_a_coin():
    ranking = rank([network("a", 3.0, half=0.0), network("b", 3.0, half=0.0)])
    assert ranking.models[0].better == ranking.first == 0.5


def test_two_models_are_called_a_hint_and_three_are_not(family):
    assert "hint" in rank(family[:2]).sentence
    assert "hint" not in rank(family[:3]).sentence


def test_the_sentence_tells_the_mean_over_series_that_the_probability_is_of_and_the_share_of_all_pairs(family):
    found = PUBLISHED["alpha_weighted"]
    mean, pairs = f"{found.by_series:.0%}", f"{found.right:.0%}"
    assert (mean, pairs) == ("81%", "86%")
    said = f"{mean} of pairs rightly in the mean over series (worst series 33%; all pairs {pairs})"
    assert said in rank(family).sentence


def test_it_is_said_that_the_published_differences_are_of_other_numbers(family, tmp_path):
    odd = network("odd", 3.5, prefix="stage")
    for ranking in (rank(family), rank([*family, odd], across_families=True)):
        assert any("WeightWatcher 0.2.7" in note for note in ranking.notes)
    quality = np.arange(12.0)
    own = rank(family, evidence=evidence_of(tmp_path, {"alpha": -quality}, quality, ("A",) * 12))
    assert not any("WeightWatcher" in note for note in own.notes)


def test_evidence_of_ones_own_is_said_to_be_in_sample_and_not_known_to_carry_over(family, tmp_path):
    quality = np.arange(12.0)
    path = evidence_of(tmp_path, {"alpha": -quality}, quality, ("A",) * 12)
    odd = network("odd", 3.5, prefix="stage")
    for ranking in (rank(family, evidence=path), rank([*family, odd], evidence=path, across_families=True)):
        assert "How far that carries to other models is not known." in ranking.sentence
        assert any("in sample" in note and "own models" in note for note in ranking.notes)
    assert not any("in sample" in note for note in rank(family).notes)
    assert "How far that carries to other tasks is not known." in rank(family).sentence


def test_a_model_without_the_metric_is_left_out_and_named(family):
    bare = report("bare", row("blocks.0.fc", alpha=float("nan")))
    ranking = rank([*family, bare])
    assert len(ranking.models) == 4
    assert ranking.notes[0] == "left out, without alpha_weighted: bare"


def test_as_json_it_says_the_same(family, tmp_path):
    ranking = rank(family)
    plain = json.loads(ranking.to_json(tmp_path / "r.json"))
    assert plain == json.loads((tmp_path / "r.json").read_text()) == ranking.as_dict()
    assert [one["model"] for one in plain["models"]] == ["net3", "net2", "net1", "net0"]
    assert plain["models"][-1]["better"] is None
    assert plain["sentence"] == ranking.sentence


# --- families ----------------------------------------------------------------------------------------------------


def test_models_of_two_families_are_refused_by_name(family):
    with pytest.raises(RequestError, match=r"net0 and odd are not of one family: .* 0 of 2 .*--across-families"):
        rank([*family, network("odd", 3.0, prefix="stage")])


def test_across_families_the_order_is_little_better_than_a_coin(family):
    ranking = rank([*family, network("odd", 3.5, prefix="stage")], across_families=True)
    assert [one.model for one in ranking.models] == ["net3", "net2", "odd", "net1", "net0"]
    assert ranking.evidence == ACROSS["alpha_weighted"]
    assert all(0.5 < one.better < 0.58 for one in ranking.models[:-1])
    assert "not of one family" in ranking.sentence
    assert not ranking.one_family


def test_asking_across_families_changes_nothing_within_one(family):
    assert rank(family, across_families=True) == rank(family)


# --- what cannot be ranked ---------------------------------------------------------------------------------------


def test_one_model_is_an_error(family):
    with pytest.raises(RequestError, match="at least two models; there are 1"):
        rank(family[:1])


def test_a_metric_without_evidence_is_an_error(family):
    with pytest.raises(RequestError, match=r"no published evidence on 'stable_rank', but on log_norm"):
        rank(family, "stable_rank")


@pytest.mark.parametrize("across", [False, True])
def test_a_metric_that_promises_more_than_it_keeps_is_refused(family, across):
    with pytest.raises(RequestError, match=r"do not support 'alpha': .* 61% .* 55% .*--evidence"):
        rank(family, "alpha", across_families=across)


def test_models_without_the_metric_are_an_error():
    bare = [report(name, row("x", alpha=float("nan"))) for name in "ab"]
    with pytest.raises(RequestError, match="fewer than two of the models have alpha_weighted"):
        rank(bare)


# --- one's own evidence ------------------------------------------------------------------------------------------


def test_the_supported_metric_that_errs_least_is_taken(family, tmp_path):
    quality = np.arange(20.0)
    swapped = quality.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    noise = np.random.default_rng(1).permutation(20).astype(float)
    metrics = {"alpha": -swapped, "log_norm": -quality, "log_spectral_norm": noise}
    path = evidence_of(tmp_path, metrics, quality, ("A",) * 10 + ("B",) * 10)
    ranking = rank(family, evidence=path)
    assert ranking.metric == "log_norm"
    assert (ranking.evidence.right, ranking.evidence.pairs, ranking.evidence.series) == (1.0, 90, 2)
    assert "trends.json" in ranking.sentence
    assert rank(family, "alpha", evidence=path).evidence.right == 1 - 1 / 90


def test_evidence_that_supports_nothing_is_refused_with_the_verdicts(family, tmp_path):
    path = evidence_of(tmp_path, {"alpha": np.array([3.0, 2, 1])}, [1, 2, 3], ("A",) * 3)
    with pytest.raises(RequestError, match=r"supports no metric to rank by: alpha too few"):
        rank(family, evidence=path)
    quality = np.arange(20.0)
    path = evidence_of(tmp_path, {"alpha": quality, "log_norm": -quality}, quality, ("A",) * 20)
    with pytest.raises(RequestError, match=r"supports no metric to rank by: alpha reversed"):
        rank(family, "alpha", evidence=path)
    with pytest.raises(RequestError, match=r"has no trend of 'norm', but of alpha, log_norm"):
        rank(family, "norm", evidence=path)


@pytest.mark.parametrize("higher", [True, False])
def test_a_metric_that_the_theory_leaves_open_goes_the_way_of_the_evidence(tmp_path, higher):
    quality = np.arange(12.0) * (1 if higher else -1)
    path = evidence_of(tmp_path, {"stable_rank": np.arange(12.0)}, quality, ("A",) * 12, higher)
    models = [report(f"r{k}", row("x", stable_rank=value)) for k, value in enumerate((2.0, 3.0, 1.0))]
    ranking = rank(models, evidence=path)
    assert ranking.direction == 1
    assert [one.model for one in ranking.models] == ["r1", "r0", "r2"]


BARE = '"models": [{"model": "a", "group": "A", "quality": 1, "metrics": {"alpha": 1}}]'


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[]", "no json", '{"trends": [], "models": []}', '{"layers": []}', '{"trends": 1, "models": 2}'),
        '{"trends": [{}], "models": [], "quality": {}}',
        '{"trends": [{"metric": "alpha", "verdict": "supported"}], "models": [], "quality": {}}',
        f'{{"trends": [{{"metric": "alpha", "verdict": "open"}}], {BARE}, "quality": {{"higher_is_better": true}}}}',
        '{"trends": [], "models": [{}], "quality": {"higher_is_better": true}}',
        '{"trends": [], "models": ["a"], "quality": {"higher_is_better": true}}',
        '{"trends": [null], "models": [], "quality": {"higher_is_better": true}}',
    ],
)
def test_what_is_no_evidence_is_named(family, tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"other.json: is not what trends --json writes") as caught:
        rank(family, evidence=path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match=r"nope\.json"):
        rank(family, evidence=tmp_path / "nope.json")


def test_evidence_of_the_ranked_models_themselves_is_said(family, tmp_path):
    quality = np.arange(12.0)
    names = ("Net0", "net1", *(f"m{k}" for k in range(10)))
    table = ModelTable(names, ("A",) * 12, {"alpha": -quality}, quality, "score", True)
    trends(table, resamples=200).to_json(tmp_path / "own.json")
    [_, note] = rank(family, evidence=tmp_path / "own.json").notes
    assert "own.json knows the quality of net0, net1:" in note
    longer = [network(f"net1-{k}", 3.0 + k) for k in range(2)]  # as checkpoints go by the beginning of their names
    [_, note] = rank(longer, evidence=tmp_path / "own.json").notes
    assert "net1-0, net1-1" in note


# --- evidence ----------------------------------------------------------------------------------------------------


def test_pairs_are_counted_within_series_and_equal_ones_by_half():
    # A: 3 pairs, of which (1, 2) is wrong; B: one pair, whose metrics are equal; C: one whose qualities are equal
    found = measure("x", -1, [3, 1, 2, 5, 5, 1, 2], [1, 2, 3, 0, 1, 4, 4], "AAABBCC")
    assert (found.pairs, found.series) == (4, 2)
    assert found.right == (2 + 0.5) / 4
    assert found.worst == 0.5
    assert found.by_series == pytest.approx((2 / 3 + 0.5) / 2)
    assert found.gaps == (1.0,)
    assert found.shares == pytest.approx(((2 / 3 + 0.5) / 2,))
    assert found.counts == (2,)
    assert measure("x", -1, [1, 2], [1, 1], "AA") is None


def test_the_direction_and_the_missing_are_heeded():
    x, y = np.array([1.0, 2, np.nan, 4]), np.array([1.0, 2, 3, 4])
    assert measure("x", 1, x, y, "AAAA").right == 1
    assert measure("x", -1, x, y, "AAAA").right == 0
    assert measure("x", 1, x, y, "AAAA").pairs == 3


def test_sureness_is_odd_about_a_half_and_never_certain():
    found = Evidence("x", -1, 1.0, 1.0, 1.0, 80, 3, (1.0, 3.0), (1.0, 1.0), (3, 3), "")
    gaps = np.array([0.0, 0.5, 1, 2, 9])
    np.testing.assert_allclose(found.sure(gaps), [0.5, 0.65, 0.8, 0.8, 0.8])
    np.testing.assert_allclose(found.sure(gaps) + found.sure(-gaps), 1)


def published_series():
    """The models of the published series of at least 4, each with its series; and all that were trained on ImageNet."""
    frame = pd.read_csv(DATA)
    frame = frame[(frame.collection == "osmr-2020-01-16") & ~frame.model.isin(["efficientnet_b0", "efficientnet_b1"])]
    frame = frame.assign(series=frame.dataset + " " + frame.series)
    return frame[frame.groupby("series").model.transform("size") >= 4], frame[frame.dataset == "imagenet-1k"]


def left_out(metric):
    """Of each series: what the others say of each of its pairs, whether that is so, and both of its first."""
    frame, _ = published_series()
    pairs, firsts = [], []
    for series, own in frame.groupby("series"):
        others = frame[frame.series != series]
        found = measure(metric, -1, others[metric], others.top1_accuracy, others.series)
        own = own.sort_values(metric)
        x, y = own[metric].to_numpy(), own.top1_accuracy.to_numpy()
        i, j = np.nonzero((x[:, None] < x) & (y[:, None] != y))
        pairs.append((found.sure(x[j] - x[i]), y[i] > y[j]))
        best = found.sure(x[1:] - x[0])
        firsts.append((1 / (1 + ((1 - best) / best).sum()), y[0] == y.max()))
    return pairs, firsts


@pytest.mark.skipif(not DATA.exists(), reason="no published tables beside this checkout")
def test_the_published_evidence_is_what_the_published_tables_say():
    frame, imagenet = published_series()
    assert imagenet.series.nunique() == 40
    for name, stated in PUBLISHED.items():
        found = measure(name, -1, frame[name] * UNITS.get(name, 1), frame.top1_accuracy, frame.series)
        assert (found.pairs, found.series, found.counts) == (stated.pairs, stated.series, stated.counts)
        for what in ("right", "by_series", "worst", "gaps", "shares"):
            np.testing.assert_allclose(getattr(stated, what), getattr(found, what), atol=0.0005)
    for name, stated in ACROSS.items():
        values = imagenet[name] * UNITS.get(name, 1)
        found = measure(name, -1, values, imagenet.top1_accuracy, imagenet.dataset, bins=1)
        assert found.pairs == stated.pairs
        np.testing.assert_allclose((stated.right, *stated.gaps), (found.right, *found.gaps), atol=0.0005)


@pytest.mark.skipif(not DATA.exists(), reason="no published tables beside this checkout")
@pytest.mark.parametrize("metric", PUBLISHED)
def test_series_that_the_evidence_has_not_seen_are_ordered_at_least_as_well_as_is_said(metric):
    pairs, firsts = left_out(metric)
    said, seen = (np.array([one.mean() for one in column]) for column in zip(*pairs, strict=True))
    assert seen.mean() >= said.mean()
    said, seen = (np.concatenate(column) for column in zip(*pairs, strict=True))
    surest = said >= np.quantile(said, 0.75)
    assert seen.mean() >= said.mean()
    assert seen[surest].mean() >= said[surest].mean()
    said, seen = np.mean(firsts, axis=0)
    assert seen >= said


@pytest.mark.skipif(not DATA.exists(), reason="no published tables beside this checkout")
def test_the_usual_metric_keeps_as_much_as_the_documentation_says():
    pairs, firsts = left_out("alpha_weighted")
    np.testing.assert_allclose(np.mean([[p.mean(), r.mean()] for p, r in pairs], axis=0), [0.76, 0.81], atol=0.005)
    np.testing.assert_allclose(np.mean(firsts, axis=0), [0.38, 0.55], atol=0.005)


@pytest.mark.skipif(not DATA.exists(), reason="no published tables beside this checkout")
@pytest.mark.parametrize("metric", OVERCONFIDENT)
def test_a_refused_metric_keeps_less_than_it_promises_by_as_much_as_the_refusal_says(metric):
    said, seen = (np.concatenate(column) for column in zip(*left_out(metric)[0], strict=True))
    surest = said >= np.quantile(said, 0.75)
    assert seen[surest].mean() < said[surest].mean() - 0.1
    assert f"{said.mean():.0%} of their pairs and orders {seen.mean():.0%}" in OVERCONFIDENT[metric]
