import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import student
from trends.model_rows import network

import heavytail
from heavytail.errors import RequestError, SourceError
from heavytail.trends import trends
from heavytail.trends.choices import QUALITIES, is_loss
from heavytail.trends.matching import match
from heavytail.trends.metrics import model_metrics
from heavytail.trends.models import name_of, read_model
from heavytail.trends.reading import read_table

PUBLISHED = Path(__file__).parents[3] / "shared" / "published"


@pytest.fixture
def models(tmp_path):
    """A table of six models in two series and two data sets."""
    frame = pd.DataFrame(
        {
            "dataset": ["x", "x", "x", "y", "y", "y"],
            "series": ["A", "A", "B", "B", "B", None],
            "model": ["a1", "a2", "b1", "b2", "b3", "c"],
            "params": [1, 2, 3, 4, 5, 6],
            "alpha": [3.0, 2.5, 4.0, np.nan, 3.5, 3.0],
            "log_norm": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "spectral_norm": [1.0, 10.0, 100.0, 0.0, 10.0, 1.0],
            "top1_error": [30.0, 29.0, 28.0, 27.0, np.nan, 25.0],
            "loss": [3.0, 2.9, 2.8, 2.7, 2.6, 2.5],
        }
    )
    path = tmp_path / "models.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def checkpoints(tmp_path):
    """Three models, analysed and as weights, and a table of their quality."""
    paths = []
    for k, name in enumerate(("net10-abc123", "net20-def456", "net30-aa11bb")):
        path = tmp_path / f"{name}.npz"
        np.savez(path, **{f"blocks.{i}.fc.weight": student(60, 50, seed=10 * k + i) for i in range(2)})
        paths.append(path)
    quality = tmp_path / "quality.csv"
    quality.write_text("model,series,accuracy\nnet10,net,70\nnet20,net,71.5\nnet30,net,72\nnet40,net,73\n")
    return paths, quality


def said(table, *words):
    return any(all(word in note for word in words) for note in table.notes)


# --- a table of models -------------------------------------------------------------------------------------------


def test_a_table_of_models_is_read_as_it_stands(models):
    table = read_table(models, target="loss", group=["series"])
    assert table.models == ("a1", "a2", "b1", "b2", "b3", "c")
    assert table.groups == ("A", "A", "B", "B", "B", "(no series)")
    assert list(table.metrics) == ["log_norm", "alpha"]
    np.testing.assert_equal(table.metrics["alpha"], [3.0, 2.5, 4.0, np.nan, 3.5, 3.0])
    np.testing.assert_equal(table.quality, [3.0, 2.9, 2.8, 2.7, 2.6, 2.5])
    assert (table.quality_name, table.higher_is_better) == ("loss", False)


def test_parquet_says_the_same_as_csv(models, tmp_path):
    pytest.importorskip("pyarrow")
    pd.read_csv(models).to_parquet(tmp_path / "models.parquet")
    one, other = read_table(models), read_table(tmp_path / "models.parquet")
    assert (one.models, one.groups, one.notes) == (other.models, other.groups, other.notes)
    np.testing.assert_equal(dict(one.metrics), dict(other.metrics))


def test_what_has_no_quality_is_left_out_and_named(models):
    table = read_table(models)
    assert "b3" not in table.models
    assert len(table.models) == len(table.groups) == table.quality.size == table.metrics["alpha"].size == 5
    assert said(table, "left out", "top1_error", "b3")


def test_what_has_none_of_the_metrics_is_left_out_and_named(models):
    table = read_table(models, metrics=["alpha"], target="loss")
    assert table.models == ("a1", "a2", "b1", "b3", "c")
    assert said(table, "left out", "metric", "b2")


def test_of_several_qualities_the_first_known_is_taken_and_said(models):
    table = read_table(models)
    assert table.quality_name == "top1_error"
    assert said(table, "top1_error", "--target", "loss")
    assert not said(read_table(models, target="loss"), "--target")


@pytest.mark.parametrize("name", QUALITIES)
def test_every_known_quality_is_found_whatever_its_letters(name, tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(f"model,{name.upper()},alpha\na,1,2\nb,2,3\n")
    table = read_table(path)
    assert table.quality_name == name
    assert table.higher_is_better == (not is_loss(name))


@pytest.mark.parametrize(
    "name",
    [
        *("top1_error", "loss", "perplexity", "MAE", "val-rmse", "test_loss", "WER", "errors", "val_losses", "rmsd"),
        *("bits_per_byte", "bits per dimension", "bpb", "log_mse_x", "nll", "mape", "CER", "fid", "ppl", "eval/loss1"),
        *("cross_entropy", "crossentropy", "negative_log_likelihood", "nats_per_token"),
    ],
)
def test_errors_and_losses_are_better_when_lower(name):
    assert is_loss(name)


@pytest.mark.parametrize(
    "name", ["top1_accuracy", "score", "roc_auc", "map", "f1", "mAP50", "log_likelihood", "neg_mean_squared_error"]
)
def test_scores_are_better_when_higher(name):
    assert is_loss(name) is False


@pytest.mark.parametrize("name", ["lossless", "terror", "params", "y", "x1", "habits_per_day"])
def test_a_name_that_says_nothing_is_taken_as_higher_and_that_is_said(name, tmp_path):
    assert is_loss(name) is None
    path = tmp_path / "m.csv"
    path.write_text(f"model,{name},accuracy,loss,alpha\na,1,2,3,4\nb,2,3,4,5\n")
    table = read_table(path, target=name)
    assert table.higher_is_better
    assert said(table, f"{name} is taken as higher is better; --lower-is-better says otherwise")
    for told in (True, False):
        assert not said(read_table(path, target=name, higher_is_better=told), "is better")
    for known in ("accuracy", "loss"):
        assert not said(read_table(path, target=known), "is better")


def test_the_direction_of_the_quality_can_be_said(models):
    assert read_table(models, higher_is_better=True).higher_is_better
    assert not read_table(models, target="params", higher_is_better=False).higher_is_better


def test_groups_come_from_the_columns_asked_for(models):
    table = read_table(models, target="loss", group=["dataset", "series"])
    assert table.groups == ("x · A", "x · A", "x · B", "y · B", "y · B", "y · (no series)")
    assert not said(table, "mix")


def test_groups_that_mix_data_sets_are_said(models):
    assert said(read_table(models, group=["series"]), "mix", "dataset", "--group dataset,series")


def test_by_default_no_group_mixes_data_sets(models):
    table = read_table(models, target="loss")
    assert table.groups == ("x · A", "x · A", "x · B", "y · B", "y · B", "y · (no series)")
    assert said(table, "a group is one dataset, series")
    whole = read_table(models, target="loss", where=["series!=B"])
    assert whole.groups == ("A", "A", "(no series)")
    assert not said(whole, "a group is")


@pytest.mark.parametrize("column", ["family", "group"])
def test_family_and_group_stand_in_for_series(models, column, tmp_path):
    pd.read_csv(models).rename(columns={"series": column}).to_csv(models, index=False)
    assert read_table(models, target="loss", where=["dataset=x"]).groups == ("A", "A", "B")


def test_without_a_column_of_groups_all_are_one_and_that_is_said(models):
    pd.read_csv(models).drop(columns="series").to_csv(models, index=False)
    table = read_table(models)
    assert set(table.groups) == {"all"}
    assert said(table, "one group", "--group")


def test_rows_of_one_model_that_agree_are_one_and_that_is_said(models):
    frame = pd.read_csv(models)
    once = read_table(models)
    pd.concat([frame, frame[:1], frame[1:2].assign(params=9)]).to_csv(models, index=False)
    table = read_table(models)
    assert (table.models, table.groups) == (once.models, once.groups)
    np.testing.assert_equal(dict(table.metrics), dict(once.metrics))
    assert said(table, "counted once", "a1, a2")


@pytest.mark.parametrize("column", ["alpha", "top1_error"])
def test_rows_of_one_model_that_differ_are_an_error_that_names_them(models, column):
    frame = pd.read_csv(models)
    frame.loc[5, "series"] = "C"
    pd.concat([frame, frame[1:2].assign(**{column: 7.0})]).to_csv(models, index=False)
    with pytest.raises(
        RequestError, match=r"a2 stands twice in series A, with different .*: rows 3 and 8 of models.csv"
    ):
        read_table(models, where=["dataset=x"])
    frame[1:2].assign(**{column: 7.0}).to_csv(models.with_name("more.csv"), index=False)
    frame.to_csv(models, index=False)
    with pytest.raises(RequestError, match=r": row 3 of models.csv and row 2 of more.csv"):
        read_table([models, models.with_name("more.csv")])


def test_a_model_may_stand_once_in_each_data_set_and_collection(models):
    frame = pd.read_csv(models)
    pd.concat([frame, frame[:1].assign(dataset="y", alpha=9.0)]).to_csv(models, index=False)
    assert read_table(models).models.count("a1") == 2
    mixed = read_table(models, group=["series"])
    assert mixed.models.count("a1") == 2
    assert said(mixed, "more than once in a group", "a1 (2 times in A)")


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        (["series=A"], "a1 a2"),
        (["series!=A"], "b1 b2 b3 c"),
        (["model=b*", "dataset=y"], "b2 b3"),
        (["model!=?[12]"], "b3 c"),
        (["series="], "c"),
        (["series!="], "a1 a2 b1 b2 b3"),
        (["params=3"], "b1"),
        (["alpha=2.5"], "a2"),
    ],
)
def test_conditions_choose_models(models, where, kept):
    assert read_table(models, target="loss", where=where).models == tuple(kept.split())


def test_metrics_are_columns_or_logarithms_of_columns(models):
    table = read_table(models, target="loss", metrics=["ln(spectral_norm)", "params", "log10(spectral_norm)"])
    assert list(table.metrics) == ["ln(spectral_norm)", "params", "log10(spectral_norm)"]
    np.testing.assert_allclose(table.metrics["log10(spectral_norm)"], [0, 1, 2, np.nan, 1, 0])
    np.testing.assert_allclose(table.metrics["ln(spectral_norm)"], np.log(10) * table.metrics["log10(spectral_norm)"])


@pytest.mark.parametrize("column", ["Model", "name", "model_label"])
def test_the_names_of_models_have_several_names(models, column):
    pd.read_csv(models).rename(columns={"model": column}).to_csv(models, index=False)
    assert read_table(models, target="loss").models == ("a1", "a2", "b1", "b2", "b3", "c")


def test_a_model_called_na_is_a_model(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("model,accuracy,alpha\nNA,1,2\nNone,2,3\n")
    assert read_table(path).models == ("NA", "None")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "nope"}, ["--target nope", "top1_error"]),
        ({"target": "series"}, ["series of 'a1' is 'A'", "a number"]),
        ({"group": ["nope"]}, ["--group nope", "'nope'", "dataset"]),
        ({"metrics": ["nope"]}, ["'nope'", "alpha", "ln(COLUMN)"]),
        ({"metrics": ["series"]}, ["'series'", "numbers"]),
        ({"metrics": ["alpha", "top1_error"]}, ["--metrics top1_error", "is the quality", "--target"]),
        ({"where": ["nope=1"]}, ["--where nope=1", "'nope'", "dataset"]),
        ({"where": ["nope"]}, ["--where 'nope'", "COLUMN=GLOB"]),
        ({"where": ["series=Z"]}, ["--where series=Z", "leaves no model", "A, B"]),
        ({"where": ["model=b3"], "target": "top1_error"}, ["no model", "top1_error"]),
    ],
)
def test_a_request_that_cannot_be_met_says_what_there_is(models, options, words):
    with pytest.raises(RequestError) as error:
        read_table(models, **options)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alpha,accuracy\n1,2\n", ["has no column model, name or model_label", "alpha"]),
        ("model,alpha\na,1\n", ["known as a quality", "--quality FILE"]),
        ("model,accuracy,alpha\na,1,1\n,2,2\n", ["row 3", "no name"]),
        ("model,accuracy,alpha\na,75 %,1\nb,1,1\n", ["accuracy of 'a' is '75 %'", "a number"]),
        ("model,accuracy,colour\na,1,red\n", ["no usual metric"]),
        ("", ["is no table"]),
        ('model,"accuracy\n1,2', ["is no table"]),
    ],
)
def test_a_table_that_cannot_be_used_is_named_with_what_it_lacks(tmp_path, text, words):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises((RequestError, SourceError)) as error:
        read_table(path)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["nope.csv", "nope.json", "nope.npz"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(SourceError, match=name):
        read_table(tmp_path / name)


def test_no_source_is_an_error():
    with pytest.raises(RequestError, match="no models"):
        read_table([])


# --- as people write tables --------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    """The table of these numbers as it is when written plainly, and a function that reads other ways to write it."""
    frame = pd.DataFrame(
        {
            "model": [f"m{k}" for k in range(6)],
            "series": ["10", "10", "10", "20", "20", "20"],
            "accuracy": [70.5, 71.25, 72.0, 60.0, 61.5, 62.0],
            "alpha": [3.5, 3.25, np.nan, 4.5, 4.25, 4.0],
            "log_norm": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        }
    )

    def read(raw):
        path = tmp_path / "written.csv"
        path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
        return read_table(path)

    return frame, read_table(frame), read


def same(one, other):
    assert (one.models, one.groups, one.quality_name) == (other.models, other.groups, other.quality_name)
    np.testing.assert_equal(one.quality, other.quality)
    np.testing.assert_equal(dict(one.metrics), dict(other.metrics))


def test_a_data_frame_is_a_table(written):
    frame, table, _ = written
    assert (table.models, table.groups) == (tuple(frame.model), tuple(frame.series))
    np.testing.assert_equal(table.metrics["alpha"], frame.alpha)
    np.testing.assert_equal(table.quality, frame.accuracy)
    same(read_table([frame[:3], frame[3:]]), table)
    with pytest.raises(RequestError, match="rows 0 and 6 of the DataFrame"):
        read_table(pd.concat([frame, frame[:1].assign(alpha=9.0)]))


@pytest.mark.parametrize(
    ("separator", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ",")], ids=str
)
def test_semicolons_tabs_and_decimal_commas_are_read(written, tmp_path, separator, decimal):
    frame, table, read = written
    text = frame.to_csv(index=False, sep=separator, decimal=decimal)
    same(read(text), table)
    path = tmp_path / "written.tsv"
    path.write_text(text)
    same(read_table(path), table)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_of_the_encoding_and_line_ends_change_nothing(written, encoding, end):
    frame, table, read = written
    same(read(frame.to_csv(index=False).replace("\n", end).encode(encoding)), table)


@pytest.mark.parametrize("missing", ["-", "–", "n/a", "NA", " - ", "", "N/A", "nan"])
def test_every_sign_of_a_missing_number_is_one(written, missing):
    frame, table, read = written
    same(read(frame.to_csv(index=False, na_rep=missing)), table)
    gaps = frame.assign(accuracy=frame.accuracy.where(frame.index != 4))
    found = read(gaps.to_csv(index=False, na_rep=missing))
    assert found.models == ("m0", "m1", "m2", "m3", "m5")
    assert said(found, "left out, without accuracy", "m4")


@pytest.mark.parametrize("sign", ["%", " %"])
def test_numbers_with_a_percent_sign_are_read_unless_some_have_none(written, sign):
    frame, table, read = written
    same(read(frame.assign(accuracy=[f"{value}{sign}" for value in frame.accuracy]).to_csv(index=False)), table)
    with pytest.raises(RequestError, match=r"accuracy of 'm0' is '70\.5"):
        read(frame.assign(accuracy=[f"70.5{sign}", *frame.accuracy[1:]]).to_csv(index=False))


@pytest.mark.parametrize(
    "names",
    [
        {"model": "Model", "alpha": "Alpha", "accuracy": "ACCURACY", "log_norm": "Log Norm", "series": "Series"},
        {
            "model": " model",
            "alpha": " alpha ",
            "accuracy": "accuracy (%)",
            "log_norm": "log-norm",
            "series": " series",
        },
    ],
)
def test_columns_are_known_in_whatever_letters_they_are_written(written, names):
    frame, table, read = written
    same(read(frame.rename(columns=names).to_csv(index=False)), table)
    assert read(frame.rename(columns={"accuracy": "Top-1 Accuracy (%)"}).to_csv(index=False)).quality_name == (
        "top1_accuracy"
    )


def test_options_name_columns_in_whatever_letters(models):
    asked = {"target": "Top1 Error", "group": ["Series"], "metrics": ["Alpha", "PARAMS"], "where": ["Dataset=x"]}
    plain = {"target": "top1_error", "group": ["series"], "metrics": ["alpha", "params"], "where": ["dataset=x"]}
    same(read_table(models, **asked), read_table(models, **plain))


def test_of_two_columns_alike_the_one_of_the_exact_name_is_taken(written):
    frame, table, read = written
    same(read(frame.assign(Alpha=9.0).to_csv(index=False)), table)


def test_columns_that_could_be_metrics_or_qualities_and_are_not_used_are_said(written):
    frame, _, read = written
    odd = frame.assign(my_alpha=1.0, eval_acc=2.0, colour="red", year=2020, mp_softrank=["x", *"123", "", "5"])
    table = read(odd.to_csv(index=False))
    assert said(table, "columns of numbers that are not used: my_alpha, eval_acc", "--metrics")
    assert not said(table, "year")
    assert said(table, "mp_softrank is not taken as numbers: that of m0 is 'x'")
    assert not said(read_table(odd, metrics=["my_alpha"]), "not used")


def test_an_infinite_number_is_called_not_finite(written):
    frame, _, read = written
    table = read(frame.assign(alpha=[np.inf, *frame.alpha[1:]]).to_csv(index=False))
    found = trends(table, resamples=39)
    assert "alpha is not finite for m0, and known of the 4 others" in found.warnings
    assert "alpha is missing for m2, and known of the 4 others" in found.warnings
    whole = {trend.metric: trend for trend in found.trends}
    assert (whole["alpha"].pooled.n, whole["alpha"].within.models) == (4, 3)  # one is left of the series 10
    table = read(frame.assign(accuracy=[np.inf, *frame.accuracy[1:]]).to_csv(index=False))
    assert said(table, "left out, their accuracy not finite: m0")


def test_a_table_of_a_header_alone_has_no_rows(written):
    frame, _, read = written
    with pytest.raises(SourceError, match=r"written\.csv: has no rows"):
        read(frame[:0].to_csv(index=False))


def test_trends_reads_what_is_not_yet_a_table(models, written):
    frame, table, _ = written
    assert trends(frame, resamples=39).to_json() == trends(table, resamples=39).to_json()
    assert trends(str(models), resamples=39).to_json() == trends(read_table(models), resamples=39).to_json()


# --- models and their quality ------------------------------------------------------------------------------------


def test_all_forms_of_a_model_give_the_same_metrics(checkpoints, tmp_path):
    pytest.importorskip("pyarrow")
    paths, quality = checkpoints
    reports = [heavytail.analyze(path) for path in paths]
    for path, report in zip(paths, reports, strict=True):
        report.to_json(path.with_suffix(".json"))
        report.to_csv(path.with_suffix(".csv"))
        report.to_parquet(path.with_suffix(".parquet"))
    expected = [model_metrics(report) for report in reports]
    mixed = [paths[0].with_suffix(".csv"), paths[1].with_suffix(".parquet"), paths[2].with_suffix(".json")]
    for sources in (paths, reports, mixed):
        table = read_table(sources, quality)
        assert table.models == ("net10-abc123", "net20-def456", "net30-aa11bb")
        assert table.groups == ("net", "net", "net")
        np.testing.assert_equal(table.quality, [70, 71.5, 72])
        for name, values in table.metrics.items():
            np.testing.assert_allclose(values, [metrics[name] for metrics in expected], rtol=1e-14)
        assert said(table, "another name", "net10-abc123 is net10")


def test_a_saved_report_is_found_by_the_name_of_its_checkpoint(checkpoints, tmp_path):
    paths, quality = checkpoints
    for k, path in enumerate(paths):
        heavytail.analyze(path).to_json(tmp_path / f"run{k}.json")
    table = read_table([tmp_path / f"run{k}.json" for k in range(3)], quality)
    assert table.models == ("run0", "run1", "run2")
    np.testing.assert_equal(table.quality, [70, 71.5, 72])


def test_a_model_without_a_line_is_left_out_and_named(checkpoints):
    paths, quality = checkpoints
    quality.write_text("model,accuracy\nnet10,70\nnet20,71\n")
    table = read_table(paths, quality)
    assert table.models == ("net10-abc123", "net20-def456")
    assert said(table, "left out", str(quality), "net30-aa11bb")


def test_a_table_of_metrics_can_be_given_its_quality_and_its_groups(models, tmp_path):
    quality = tmp_path / "q.csv"
    quality.write_text("model,series,score\nA1,new,1\na2,new,2\nb1,new,3\n")
    table = read_table(models, quality)
    assert table.models == ("a1", "a2", "b1")
    assert set(table.groups) == {"new"}
    assert (table.quality_name, list(table.quality)) == ("score", [1, 2, 3])
    assert said(table, "taken from", "series")
    assert said(table, "a1 is A1")


def test_metrics_that_were_measured_are_never_those_of_the_quality_file(checkpoints):
    paths, quality = checkpoints
    expected = read_table(paths, quality).metrics["alpha"]
    quality.write_text("model,accuracy,alpha\nnet10,70,1\nnet20,71,2\nnet30,72,3\n")
    table = read_table(paths, quality)
    np.testing.assert_equal(table.metrics["alpha"], expected)
    assert said(table, "not taken from", "alpha")


def test_conditions_hold_for_the_quality_before_models_are_looked_up(checkpoints):
    paths, quality = checkpoints
    lines = [f"net{k}0,{data},{70 + k + bonus}" for data, bonus in (("x", 0), ("y", 10)) for k in (1, 2, 3)]
    quality.write_text("\n".join(["model,dataset,accuracy", *lines, ""]))
    np.testing.assert_equal(read_table(paths, quality, where=["dataset=y"]).quality, [81, 82, 83])
    with pytest.raises(RequestError, match=r"2 lines for 'net10', with accuracy 71, 81; --where can choose by dataset"):
        read_table(paths, quality)


def test_lines_that_agree_are_one(checkpoints):
    paths, quality = checkpoints
    quality.write_text("model,source,accuracy\nnet10,a,70\nnet10,b,70\nnet20,a,71\nnet20,b,\nnet30,a,72\n")
    np.testing.assert_equal(read_table(paths, quality).quality, [70, 71, 72])


def test_no_model_that_has_a_line_is_an_error_with_the_nearest_names(checkpoints):
    paths, quality = checkpoints
    quality.write_text("model,accuracy\nnet10_cifar,70\nzebra,71\n")
    with pytest.raises(RequestError, match=r"none of the models net10-abc123, .*net10_cifar"):
        read_table(paths, quality)


def test_a_line_that_two_models_could_have_is_an_error_that_names_them(checkpoints):
    paths, quality = checkpoints
    quality.write_text("model,accuracy\nnet10,70\n")
    other = paths[0].with_name("net10-other.npz")
    other.write_bytes(paths[0].read_bytes())
    with pytest.raises(RequestError, match=r"'net10' of .* could be 'net10-abc123' or 'net10-other'"):
        read_table([paths[0], other], quality)


def test_the_whole_name_comes_before_a_part_of_it(checkpoints):
    paths, quality = checkpoints
    quality.write_text("model,accuracy\nnet10,70\nnet20,71\n")
    plain = paths[0].with_name("net10.npz")
    plain.write_bytes(paths[0].read_bytes())
    table = read_table([paths[0], plain, paths[1]], quality)
    assert table.models == ("net10", "net20-def456")
    assert said(table, "left out", "net10-abc123")


def test_two_models_of_one_name_are_an_error(checkpoints, tmp_path):
    paths, quality = checkpoints
    heavytail.analyze(paths[0]).to_json(paths[0].with_suffix(".json"))
    with pytest.raises(RequestError, match="two models are called 'net10-abc123'"):
        read_table([paths[0], paths[0].with_suffix(".json")], quality)


def test_analyses_that_differ_in_what_shapes_their_numbers_are_said(tmp_path):
    quality = tmp_path / "q.csv"
    quality.write_text("model,accuracy\na,1\nb,2\n")
    one, other = network("a", 3), network("b", 4)
    assert not said(read_table([one, other], quality), "differ")
    other.settings["conv"] = "unfold"
    assert said(read_table([one, other], quality), "differ in conv", "slices (a)", "unfold (b)")


def test_failed_rows_are_said(tmp_path):
    weights = {"a.weight": student(60, 50, seed=1), "b.weight": np.full((30, 20), np.nan)}
    np.savez(tmp_path / "part.npz", **weights)
    (tmp_path / "q.csv").write_text("model,accuracy\npart,1\n")
    assert said(
        read_table(tmp_path / "part.npz", tmp_path / "q.csv"), "part: rows that are not in its metrics: 1 failed"
    )
    weights["b.weight"] = np.ones((30, 20), np.int8)
    np.savez(tmp_path / "part.npz", **weights)
    assert said(read_table(tmp_path / "part.npz", tmp_path / "q.csv"), "not in its metrics: 1 unsupported")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plain: plain.pop("layers"), "not what analyze --json writes"),
        (lambda plain: plain.update(schema_version=99), "schema_version 99"),
        (lambda plain: plain.update(layers=[1]), "a row that is none of analyze's"),
        (lambda plain: plain.update(layers=None), "a row that is none of analyze's"),
        (lambda plain: plain["layers"][0].update(alpha="many"), "a row that is none of analyze's"),
    ],
)
def test_a_damaged_report_is_named_with_what_is_wrong(checkpoints, tmp_path, change, words):
    plain = heavytail.analyze(checkpoints[0][0]).as_dict()
    change(plain)
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(plain))
    with pytest.raises(SourceError, match=f"damaged.json: .*{words}"):
        read_model(path)


def test_a_report_comes_back_row_by_row(checkpoints, tmp_path):
    report = heavytail.analyze(checkpoints[0][0])
    report.to_json(tmp_path / "saved.json")
    found = read_model(tmp_path / "saved.json")
    np.testing.assert_equal([row.as_dict() for row in found.rows], [row.as_dict() for row in report.rows])
    assert (found.name, found.also, found.settings["conv"]) == ("saved", "net10-abc123", "slices")


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("resnet20-12fca82f.th", "resnet20-12fca82f"),
        ("a/chgnet_0.3.0_e29.pth.tar", "chgnet_0.3.0_e29"),
        ("bert-base/model.safetensors", "bert-base"),
        ("bert-base/pytorch_model.bin", "bert-base"),
        ("bert-base/model.safetensors.index.json", "bert-base"),
        ("https://example.org/zoo/vgg16.pth?download=true", "vgg16"),
        ("net.v2", "net.v2"),
        ("VGG.JSON", "VGG"),
    ],
)
def test_a_model_is_named_after_its_file_or_its_folder(path, name):
    assert name_of(path) == name


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("resnet20-12fca82f", ["resnet2", "resnet20", "resnet200"], "resnet20"),
        ("resnet20", ["resnet2"], None),
        ("efficientnet-lite0-579", ["efficientnet", "efficientnet-lite0", "efficientnet-lite"], "efficientnet-lite0"),
        ("VGG16", ["vgg16", "VGG16"], "VGG16"),
        ("VGG16_bn-6c64b313", ["vgg16", "vgg16_bn"], "vgg16_bn"),
        ("vgg16", ["vgg16-bn"], None),
        ("a", [], None),
    ],
)
def test_a_model_goes_by_the_longest_name_that_its_own_begins_with(name, known, found):
    assert match(name, known) == found


def test_names_that_differ_in_their_letters_alone_are_ambiguous():
    with pytest.raises(RequestError, match=r"'vgg-1' could be 'VGG' or 'Vgg'"):
        match("vgg-1", ["VGG", "Vgg"])


# --- published ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published tables beside this checkout")
def test_published_models_are_read_by_series():
    table = read_table(
        PUBLISHED / "model_metrics.csv",
        where=["collection=osmr*", "model!=efficientnet_b[01]"],
        group=["dataset", "series"],
        metrics=["ln(spectral_norm)"],
        target="top1_error",
    )
    counts = pd.Series(table.groups).value_counts()
    assert (counts >= 4).sum() == 20
    assert len(table.models) == 224
    assert not table.higher_is_better


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published tables beside this checkout")
def test_published_accuracies_are_found_for_the_models_they_are_of():
    accuracies = PUBLISHED / "accuracies.csv"
    models = PUBLISHED / "model_metrics.csv"
    where = ["collection=osmr*", "dataset=imagenet-1k", "series=ResNet"]
    own = read_table(models, where=where)
    with pytest.raises(RequestError, match=r"2 lines for 'resnet101', .*; --where can choose by .*source"):
        read_table(models, accuracies, where=where)
    joined = read_table(models, accuracies, where=[*where, "source=*@7509b95d*"])
    assert joined.models == own.models
    np.testing.assert_allclose(joined.quality, own.quality, atol=1e-9)
