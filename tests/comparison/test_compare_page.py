import re
from dataclasses import replace
from math import isfinite, nan

import numpy as np
import pytest
from comparison import compared
from pages import Page, needs_nothing_else

from heavytail.comparison import compare
from heavytail.comparison.page import render
from heavytail.comparison.payload import GROUPS
from heavytail.comparison.remarks import attention, in_short
from heavytail.comparison.report import summarise
from heavytail.comparison.row import COLUMNS, KINDS_OF_CHANGE, ChangeRow, MetricChange


@pytest.fixture(scope="module")
def comparison():
    return compared.comparison()


@pytest.fixture(scope="module")
def text(comparison):
    return render(comparison)


@pytest.fixture(scope="module")
def data(text):
    return Page(text).data


def place(data, name):
    return data["columns"]["name"].index(name)


def test_the_same_comparison_gives_the_same_page(comparison, text):
    assert render(comparison) == text


def test_the_page_needs_nothing_else(text):
    assert needs_nothing_else(text)


def test_a_hostile_name_stays_text(text, data):
    assert compared.HOSTILE not in text
    assert "img" not in Page(text).tags
    assert data["columns"]["name"][-1] == compared.HOSTILE


@pytest.mark.parametrize(
    "text", ["name", "tuned_name", "kind", "base_dtype", "tuned_dtype", "reason", "base_phase", "tuned_phase"]
)
@pytest.mark.parametrize("status", ["ok", "failed", "unmatched", "unsupported", "skipped"])
def test_every_text_of_a_row_is_escaped(comparison, text, status):
    layer = comparison.layers[0]
    row = replace(layer.row, status=status, **{text: compared.HOSTILE})
    assert "img" not in Page(render(replace(comparison, layers=(replace(layer, row=row),)))).tags


def test_models_settings_notes_and_version_are_escaped(comparison):
    evil = compared.HOSTILE
    bad = {evil: [evil], "name": evil, "format": evil, "files": [evil], "notes": [evil]}
    bad_page = render(replace(comparison, base=bad, tuned=bad, settings={evil: evil}, notes=(evil,), version=evil))
    assert "img" not in Page(bad_page).tags
    assert compared.HOSTILE not in bad_page


def test_half_a_surrogate_pair_in_a_name_does_not_stop_the_page(comparison):
    layer = comparison.layers[0]
    row = replace(layer.row, name="bad\udc80name", status="failed", reason="\ud800")
    bad = replace(comparison, layers=(replace(layer, row=row),), tuned={"name": "m\udc80"}, notes=("\udc80",))
    assert "bad\ufffdname".encode() in render(bad).encode("utf-8")


@pytest.mark.parametrize(
    ("base", "tuned", "title"),
    [
        ("/models/base.pt", "/models/tuned.pt", "tuned.pt against base.pt"),
        ("/models/base/model.pt", "/models/tuned/model.pt", "tuned/model.pt against base/model.pt"),
        ("mapping", "mapping", "mapping against mapping"),
        ("model.pt", "/tuned/model.pt", "tuned/model.pt against model.pt"),
    ],
)
def test_the_title_names_both_models_by_as_much_as_tells_them_apart(comparison, base, tuned, title):
    text = render(replace(comparison, base={"name": base}, tuned={"name": tuned}))
    assert f"<title>{title} · heavytail</title>" in text


def test_a_long_name_breaks_where_its_parts_join_and_stays_text(comparison):
    evil = f"a_b{compared.HOSTILE}"
    text = render(replace(comparison, base={"name": evil}, tuned={"name": "chgnet_0.3.0_e29-f68.pth.tar"}))
    assert "<bdi>chgnet_<wbr>0.<wbr>3.<wbr>0_<wbr>e29-<wbr>f68.<wbr>pth.<wbr>tar</bdi>" in text
    assert "<title>chgnet_0.3.0_e29-f68.pth.tar against" in text
    assert "img" not in Page(text).tags


def test_columns_hold_the_numbers_of_the_table(comparison, data):
    table = comparison.table
    assert tuple(data["columns"]) == COLUMNS
    for name in COLUMNS:
        for ours, theirs in zip(data["columns"][name] or [None] * len(table), table[name], strict=True):
            if isinstance(theirs, str):
                assert (ours or "") == theirs
            elif isfinite(theirs):
                assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-300)
            else:
                assert ours is None


def test_every_column_is_in_one_group():
    assert sorted(name for members in GROUPS.values() for name in members) == sorted(COLUMNS)


def test_the_sample_has_every_kind_of_change(data):
    kinds = data["columns"]["change"]
    expected = {"layers.0.noise": "noise", "spiked": "spiked", "lora": "low rank", "dense": "dense", "frozen": "none"}
    assert {name: kinds[place(data, name)] for name in expected} == expected
    assert list(data["kinds"]) == list(KINDS_OF_CHANGE)


@pytest.mark.parametrize("name", ["layers.0.noise", "spiked", "lora"])
def test_the_spectrum_of_the_change_is_that_of_the_difference(data, name):
    base, tuned = compared.models()
    evals = np.linalg.svd(tuned[name] - base[name], compute_uv=False) ** 2
    curves = data["curves"][place(data, name)]
    above = curves["count"] - curves["below"]
    assert above == (compared.RANK if name == "lora" else compared.M)
    np.testing.assert_allclose(curves["x"][: min(above, 40)], evals[: min(above, 40)], rtol=1e-4)


def test_the_spectra_of_both_models_are_theirs(data):
    base, tuned = compared.models()
    for found, matrix in zip(data["spectra"][place(data, "spiked")], (base["spiked"], tuned["spiked"]), strict=True):
        evals = np.linalg.svd(matrix, compute_uv=False) ** 2
        brute = [int((evals >= x * (1 - 5e-5)).sum()) for x in found["x"]]  # of five digits
        assert found["rank"] == brute
        edges = np.logspace(*found["range"], len(found["density"]) + 1)
        assert (np.array(found["density"]) * np.diff(edges)).sum() == pytest.approx(1, rel=5e-3)


def test_an_unchanged_layer_has_one_spectrum_and_no_change(data):
    i = place(data, "frozen")
    assert len(data["spectra"][i]) == 1
    assert data["curves"][i] is data["directions"][i] is data["fits"][i] is None


def test_the_noise_of_the_change_has_the_edge_and_the_spikes_of_its_row(comparison, data):
    i = place(data, "spiked")
    layer = comparison.layers[i]
    assert data["noise"][i]["edge"] == pytest.approx(layer.row.delta_bulk_edge, rel=1e-3)
    assert len(data["noise"][i]["spikes"]) == layer.row.delta_num_spikes == 1


def test_directions_are_those_of_the_singular_vectors(data):
    base, tuned = compared.models()
    found = data["directions"][place(data, "lora")]
    k = found["k"]
    (U0, _, V0), (U1, _, V1) = (np.linalg.svd(one["lora"], full_matrices=False) for one in (base, tuned))
    np.testing.assert_allclose(found["narrow"], np.linalg.svd(V0[:k] @ V1[:k].T)[1], atol=1e-4)
    np.testing.assert_allclose(found["wide"], np.linalg.svd(U0[:, :k].T @ U1[:, :k])[1], atol=1e-4)
    nearest = np.array([np.abs(V0 @ V1[:k].T).max(axis=0), np.abs(U0.T @ U1[:, :k]).max(axis=0)])
    assert (np.array(found["lo"]) <= nearest + 1e-4).all()
    assert (np.array(found["hi"]) >= nearest - 1e-4).all()
    assert found["intruders"] == (nearest < found["cutoff"]).any(axis=0).sum() == compared.RANK


def test_of_several_matrices_the_one_that_turned_most_is_drawn(comparison, data):
    i = place(data, "conv")
    found, every = data["directions"][i], comparison.layers[i].subspaces
    assert found["matrices"] == len(every) == 9
    turned = [(-one.intruders, one.cosines_narrow.min()) for one in every]
    assert turned[found["matrix"]] == min(turned)


def test_the_median_is_that_of_the_layers_that_changed(comparison, data):
    moved = [row.relative_change for row in comparison.rows if row.status == "ok" and row.relative_change > 0]
    assert data["median"] == pytest.approx(np.median(moved), rel=1e-3)


def test_a_mean_change_and_its_error_stand_on_the_page_to_the_same_decimals(comparison):
    def figure(change, error):
        metrics = comparison.summary["metrics"]
        made = {"base": 4.0, "tuned": 4.0 + change, "change": change, "error": error, "layers": 5}
        shown = render(replace(comparison, summary={**comparison.summary, "metrics": {**metrics, "alpha": made}}))
        return re.search(r'data-metric="alpha".*?<span class="value">(.*?)<small>(.*?)</small>', shown, re.S).groups()

    assert figure(-0.6837, 0.541) == ("−0.68", "± 0.54")
    assert figure(12.3456, 1.23) == ("+12.3", "± 1.2")
    assert figure(4.19e-5, 5.4e-6) == ("+4.19×10⁻⁵", "± 0.54×10⁻⁵")
    assert figure(0.0, 0.0) == ("0", "± 0")
    assert figure(0.25, nan) == ("+0.25", "")
    assert figure(nan, nan) == ("–", "")


def test_vectors_stand_by_their_relative_change_the_largest_first(text):
    listed = re.search(r'<ol id="vectors">(.*?)</ol>', text, re.S)[1]
    changes = [float(number) for number in re.findall(r"<b>([0-9.]+)\u202f%</b>", listed)]
    assert changes == pytest.approx(range(compared.LAYERS - 1, 0, -1))
    assert re.findall(r'dir="ltr">(.*?)<', listed) == [f"layers.{i}.bias" for i in range(compared.LAYERS - 1, 0, -1)]


def test_how_tensors_were_matched_is_told():
    W = np.random.default_rng(0).standard_normal((60, 40))
    found = compare({"a.fc.weight": W}, {"model.a.fc.weight": W + 1e-3}, jobs=1)
    (note,) = found.notes
    assert note.replace("'", "&#39;") in render(found)


@pytest.mark.slow
def test_five_hundred_layers_stay_under_5_mb(comparison):
    rng = np.random.default_rng(0)
    W = rng.standard_normal((768, 768))
    tuned = W + 0.01 * rng.standard_normal((768, 768)) + 0.1 * np.outer(W[0], W[1])
    (layer,) = compare({"fc": W}, {"fc": tuned}, jobs=1).layers
    layers = tuple(replace(layer, row=replace(layer.row, name=f"model.layers.{i}.attention.fc")) for i in range(500))
    large = replace(comparison, layers=layers, summary=summarise(one.row for one in layers))
    assert len(render(large).encode()) < 5e6


# Sentences.


def row(name="x", **more):
    found = {"base_dtype": "float32", "tuned_dtype": "float32", "N": 200.0, "M": 100.0, "num_matrices": 1.0}
    return ChangeRow(name=name, **(found | {"change": "noise", "relative_change": 0.01} | more))


def alpha(base, tuned, lo, hi):
    return {"alpha": MetricChange(base, tuned, lo, hi)}


def said(*rows):
    return [(one.severity, one.name, one.sentence) for one in attention(rows)]


def short(*rows, adapter=False):
    return in_short(rows, summarise(rows, adapter=adapter))


@pytest.mark.parametrize(
    ("odd", "severity", "sentence"),
    [
        (row(status="failed", reason="out of range"), "problem", "could not be compared: out of range"),
        (row(status="unsupported", reason="int3"), "warning", "cannot be read as numbers: int3"),
        (
            row(directions=10.0, intruders=2.0),
            "warning",
            "2 of its 10 leading directions are far from all of the base's (intruder dimensions)",
        ),
        (
            row(directions=10.0, intruders=1.0),
            "warning",
            "1 of its 10 leading directions is far from all of the base's (intruder dimensions)",
        ),
        (row(status="unmatched", reason="is in the first model alone", tuned_dtype=""), "warning",
         "is in the first model alone"),
        (row(status="unmatched", reason="1 x 2 in the first model, 3 in the second"), "warning",
         "does not match: 1 x 2 in the first model, 3 in the second"),
        (row(status="unmatched", reason="is in the second model alone", base_dtype="", N=nan), "note",
         "is in the second model alone"),
        (row(relative_change=float("inf")), "note", "was zero in the base, so its change has no relative size"),
        (row(metrics=alpha(4.0, 2.5, -2.0, -0.5)), "note",
         "alpha fell from 4.00 to 2.50, by 1.50 (95 % interval 0.50 to 2.00)"),
        (row(metrics=alpha(2.0, 3.0, 0.25, 1.5)), "note",
         "alpha rose from 2.00 to 3.00, by 1.00 (95 % interval 0.25 to 1.50)"),
        (row(base_phase="bulk+spikes", tuned_phase="heavy-tailed"), "note",
         "its phase was bulk+spikes and is heavy-tailed"),
    ],
)  # fmt: skip
def test_what_needs_attention_is_said_once(odd, severity, sentence):
    assert said(row("calm"), replace(odd, name="odd")) == [(severity, "odd", sentence)]


@pytest.mark.parametrize(
    "calm",
    [
        row(metrics=alpha(4.0, 2.5, -3.2, 0.1)),
        row(metrics=alpha(4.0, 2.5, -1.5, -1.5)),
        row(base_phase="undecided", tuned_phase="heavy-tailed"),
        row(base_phase="", tuned_phase="heavy-tailed"),
        row(directions=10.0, intruders=0.0),
        row(status="skipped", change="", N=nan, relative_change=3.0),
    ],
)
def test_what_the_numbers_do_not_bear_is_not_said(calm):
    assert said(calm, row("calm")) == []


def test_a_layer_that_changed_far_more_than_the_others_is_named():
    others = [row(f"{i}", relative_change=0.01 * 1.05**i) for i in range(-4, 5)]
    assert said(*others, row("far", relative_change=0.25)) == [
        ("warning", "far", "changed by 25\u202f%, 24 times the median of the changed layers")
    ]


def test_no_layer_is_far_among_few_nor_by_less_than_the_spread_or_twice_the_median():
    far = row("far", relative_change=0.05)
    assert said(*[row(f"{i}") for i in range(6)], far) == []
    assert said(*[row(f"{i}", relative_change=0.01 * 3**i) for i in range(-5, 6)], far) == []
    assert said(*[row(f"{i}") for i in range(9)], replace(far, relative_change=0.019)) == []


def test_many_findings_of_a_kind_are_one_the_strongest_first():
    (found,) = attention([row(f"{i}", directions=10.0, intruders=float(i)) for i in range(6)])
    assert found.sentence == "5 layers have leading directions far from all of the base's (intruder dimensions)"
    assert [one.name for one in found.members] == ["5", "4", "3", "2", "1"]


def test_many_changes_of_alpha_are_held_against_what_chance_would_show():
    fell = [row(f"{i}", metrics=alpha(4.0, 3.0, -1.5, -0.5)) for i in range(5)]
    same = [row(f"s{i}", metrics=alpha(4.0, 4.0, -0.5, 0.5)) for i in range(35)]
    (found,) = attention([*fell, *same])
    assert found.sentence.startswith("5 layers: alpha changed by more than its 95 % interval allows for")
    assert found.sentence.endswith("of 40 layers without any change it would seem so in about 2")


def test_the_severest_comes_first():
    rows = (row("a", base_phase="bulk+spikes", tuned_phase="heavy-tailed"), row("b", intruders=1.0, directions=10.0))
    assert [one[0] for one in said(*rows, row("c", status="failed"))] == ["problem", "warning", "note"]


def log_norm(base):
    return {"log_norm": MetricChange(base, base, 0.0, 0.0)}


def test_noise_and_another_type_read_as_quantisation():
    rows = [row(f"{i}", tuned_dtype="int8", directions=10.0, intruders=0.0, metrics=log_norm(2.0)) for i in range(3)]
    rows += [row("s", change="spiked", tuned_dtype="int8", metrics=log_norm(2.0))]
    rows += [row("n", change="none", relative_change=0.0, metrics=log_norm(2.0))]
    rows += [row("v", status="skipped", N=nan, change="none", relative_change=0.0)]
    assert short(*rows) == (
        "4 of 5 matrices changed, by 0.89\u202f% of their norm over all; the others are exactly as they were. "
        "None of 1 vector changed.",
        "The change of 3 of the 4 changed matrices is what noise of its shape would be, without a direction that "
        "stands out: typical of quantisation and other rounding.",
        "4 matrices went from float32 to int8.",
        "None of the 30 leading directions that were looked at is new.",
    )


def test_low_ranks_read_as_an_adapter():
    rows = [row(f"{i}", change="low rank", suggested_rank=8.0, directions=10.0, intruders=1.0) for i in range(3)]
    rows += [row("k", change="none", relative_change=0.0, tuned_dtype="")]
    found = short(*rows, adapter=True)
    assert found[1] == "The other model is an adapter of the base, which leaves 1 matrix alone."
    assert found[2] == (
        "The change of all 3 changed matrices has few directions and nothing beside them, 8 each: typical of an "
        "adapter, alone or merged into the weights."
    )
    assert found[3] == "3 of 30 leading directions are far from all directions of the base: intruder dimensions."


def test_spikes_are_told_with_their_numbers():
    rows = [row(f"{i}", change="spiked", suggested_rank=float(i)) for i in (1, 2, 9)]
    assert short(*rows, row("narrow", change=""))[1] == (
        "The change of all 3 changed matrices that are large enough to tell is noise and a few directions that stand "
        "out of it, 1 to 9 of them (median 2)."
    )


def test_a_bulk_unlike_noise_is_told():
    rows = [row(f"{i}", change="spiked", suggested_rank=1.0, delta_fits=float(i not in (0, 3))) for i in range(4)]
    rows += [row("dense", change="dense")]
    found = short(*rows)
    assert found[1].endswith("out of it, 1 each; in 2 of them the bulk is not quite shaped like noise.")


def test_where_no_kind_of_change_prevails_none_is_named():
    rows = [row(f"{kind}", change=kind) for kind in ("noise", "spiked", "low rank", "dense")]
    assert len(short(*rows)) == 1


def test_two_equal_models_are_called_equal():
    rows = [row("a", change="none", relative_change=0.0)]
    assert short(*rows) == ("Nothing changed: every number of 1 matrix is the same.",)
