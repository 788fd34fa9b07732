import csv
import json
from pathlib import Path

import numpy as np
import pytest

from heavytail.cli import main
from heavytail.errors import SourceError
from heavytail.reproduce import Check, Claim, Verdict, claims, ledger, reproduce
from heavytail.reproduce.claim import printed
from heavytail.reproduce.published import COLUMNS, Table, read_tables

SOME = "targets_osmr_mse.csv"
WITH_DATA = [claim.id for claim in claims() if claim.data]


def write(folder, name, *rows):
    """Write a published table, every cell that a row does not give being 1."""
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS[name], restval="1")
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def one(monkeypatch):
    """A ledger of one claim, whose data are the mean of a column."""
    claim = Claim(
        *("X1", "title", "source", "what.", "size"),
        compute=lambda rng, table: {"mean": table.numbers("mse").mean()},
        checks=(Check("mean", 2.0, 1e-12, "note"),),
        seconds=0.1,
        data=(SOME,),
    )
    monkeypatch.setattr(ledger, "_LEDGER", (claim,))
    monkeypatch.delenv("HEAVYTAIL_PUBLISHED", raising=False)
    return claim


def test_a_claim_is_computed_from_the_folder_that_is_given(one, tmp_path):
    write(tmp_path, SOME, {"mse": 1}, {"mse": 3})
    for folder in (tmp_path, str(tmp_path)):
        [outcome] = reproduce(["x1"], data=folder)
        assert outcome.verdict is Verdict.REPRODUCED
        assert outcome.missing == ""
        assert outcome.rows[0].ours == 2.0


def test_without_a_folder_the_data_are_missing_and_nothing_is_surprising(one):
    [outcome] = reproduce()
    assert outcome.verdict is Verdict.DATA_MISSING
    assert not outcome.surprising
    assert outcome.rows == ()
    assert SOME in outcome.missing
    assert "--data" in outcome.missing
    data = json.loads(json.dumps(outcome.as_dict(), allow_nan=False))
    assert (data["verdict"], data["data"], data["rows"], data["surprising"]) == ("data missing", [SOME], [], False)
    assert data["missing"] == outcome.missing


def test_missing_data_are_one_line_and_no_failure_of_the_command(one, capsys):
    assert main(["reproduce", "all", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == "data missing"
    assert main(["reproduce", "all"]) == 0
    [line] = capsys.readouterr().out.strip().splitlines()
    assert line.startswith("X1  title: data missing; needs targets_osmr_mse.csv")


def test_the_command_takes_the_folder_as_an_option_or_from_the_environment(one, tmp_path, capsys, monkeypatch):
    write(tmp_path, SOME, {"mse": 2})
    assert main(["reproduce", "X1", "--data", str(tmp_path)]) == 0
    assert "X1  title: reproduced" in capsys.readouterr().out
    monkeypatch.setenv("HEAVYTAIL_PUBLISHED", str(tmp_path))
    assert main(["reproduce", "X1"]) == 0
    assert "X1  title: reproduced" in capsys.readouterr().out
    write(tmp_path, SOME, {"mse": 5})
    assert main(["reproduce", "X1"]) == 1
    monkeypatch.setenv("HEAVYTAIL_PUBLISHED", "")
    capsys.readouterr()
    assert main(["reproduce", "X1"]) == 0
    assert "data missing" in capsys.readouterr().out
    monkeypatch.setenv("HEAVYTAIL_PUBLISHED", str(tmp_path / "nowhere"))
    assert main(["reproduce", "X1", "--data", str(tmp_path)]) == 1  # the option has the last word


def test_the_list_says_which_claims_need_data(capsys):
    assert main(["reproduce"]) == 0
    out = capsys.readouterr().out
    assert "--data" in out
    assert "layer_metrics.csv" in out


def test_claims_without_data_look_into_no_folder(tmp_path):
    [outcome] = reproduce(["F7"], data=tmp_path / "nowhere")
    assert outcome.verdict is Verdict.PUBLISHED_WRONG


@pytest.mark.parametrize("name", WITH_DATA)
def test_every_claim_with_data_says_so_where_there_are_none(name):
    [outcome] = reproduce([name])
    assert outcome.verdict is Verdict.DATA_MISSING
    assert all(file in outcome.missing for file in outcome.claim.data)
    assert set(outcome.claim.data) <= set(COLUMNS)


HEADER = ",".join(COLUMNS[SOME])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory; expected the published table of this name"),
        (b"", f"has no column collection; expected a header line with {HEADER.replace(',', ', ')}"),
        (HEADER.replace("mse", "rmse").encode(), "has no column mse; expected a header line with "),
        (f"{HEADER}\na,b,c,d,1\n".encode(), "row 2 does not have as many cells as the header, 6"),
        (f"{HEADER}\na,b,c,d,1,2\na,b,c,d,1,2,3\n".encode(), "row 3 does not have as many cells as the header, 6"),
        (f'{HEADER}\na,b,c,"d,1,2\n'.encode(), "is not a table of comma-separated values: "),
        (b"\x80\x04PK\xff\xfe\x00", "is not a table of comma-separated values: "),
        (f"{HEADER}\na,b,c,d,1,high\n".encode(), "has 'high' in column mse; expected a finite number"),
        (f"{HEADER}\na,b,c,d,1,\n".encode(), "has '' in column mse; expected a finite number"),
        (f"{HEADER}\na,b,c,d,1,-inf\n".encode(), "has '-inf' in column mse; expected a finite number"),
        (f"{HEADER}\na,b,c,d,1,\x1b[2J\n".encode(), r"has '\\x1b[2J' in column mse; expected a finite number"),
    ],
)
def test_a_table_that_cannot_be_used_is_named_in_one_line(one, tmp_path, capsys, content, problem):
    path = tmp_path / SOME
    if content is not None:
        path.write_bytes(content)
    assert main(["reproduce", "X1", "--data", str(tmp_path)]) == 2
    seen = capsys.readouterr()
    [line] = seen.err.strip().splitlines()
    assert f"{path}: {problem}" in line
    assert seen.out == ""


def test_a_folder_in_the_place_of_a_table_is_refused(one, tmp_path):
    (tmp_path / SOME).mkdir()
    with pytest.raises(SourceError, match=r"targets_osmr_mse.csv: Is a directory; expected the published table"):
        reproduce(["X1"], data=tmp_path)


def test_a_table_that_is_not_there_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr("heavytail.reproduce.claim.Claim.run", lambda *_: pytest.fail("ran"))
    with pytest.raises(SourceError, match=r"layer_metrics\.csv"):
        reproduce(["F7", "G2"], data=tmp_path)


def test_a_table_gives_its_rows_by_their_cells(tmp_path):
    write(tmp_path, SOME, {"series": "A", "n": 1, "mse": 4}, {"series": "A", "n": 2, "mse": 5}, {"series": "B"})
    table = read_tables(tmp_path, [SOME])[SOME]
    assert len(table) == 3
    assert len(table.where(series="A")) == 2
    assert table.where(series="A").numbers("mse").tolist() == [4.0, 5.0]
    assert table.where(series="A", n="2").numbers("mse").tolist() == [5.0]
    assert table.where(series="A").texts("series") == ("A", "A")


def test_rows_that_are_not_there_are_named(tmp_path):
    table = read_tables(write(tmp_path, SOME, {"series": "A"}), [SOME])[SOME]
    with pytest.raises(SourceError, match=r"mse.csv: has no rows with series B and n 1; expected some"):
        table.where(series="B", n="1")


# What the claims compute, on tables small enough to be worked out by hand.


def compute(name, **tables):
    [claim] = [claim for claim in claims() if claim.id == name]
    return claim.compute(np.random.default_rng(0), *(tables[file.removesuffix(".csv")] for file in claim.data))


def table(name, *rows):
    return Table(Path(f"{name}.csv"), tuple(dict.fromkeys(COLUMNS[f"{name}.csv"], "1") | row for row in rows))


def model(collection, series, k, accuracy, **cells):
    texts = {name: str(value) for name, value in cells.items()}
    return {"collection": collection, "series": series, "model": f"m{k}", "top1_accuracy": str(accuracy)} | texts


def test_the_fits_of_a_series_are_those_worked_out_by_hand():
    """Of (0, 0), (1, 1), (2, 3): the slope 3/2, residuals 1/6, -1/3, 1/6."""
    rows = [model("ww-trends-2020", "ResNet", x, y, log_norm=x, alpha=-y) for x, y in ((0, 0), (1, 1), (2, 3))]
    other = model("ww-trends-2020", "VGG", 9, 50, log_norm=50)
    ours = compute("G1-ResNet", model_metrics=table("model_metrics", *rows, other))
    assert ours["models"] == 3
    assert ours["R2 of log_norm"] == pytest.approx(27 / 28, abs=1e-14)
    assert ours["RMSE of log_norm"] == pytest.approx((1 / 18) ** 0.5, abs=1e-14)
    assert ours["tau of log_norm"] == 1
    assert (ours["R2 of alpha"], ours["tau of alpha"]) == (pytest.approx(1), -1)
    assert np.isnan(ours["R2 of mp_softrank"])  # a constant
    assert np.isnan(ours["tau of mp_softrank"])


def osmr(dataset, series, errors, **cells):
    extra = {"dataset": dataset}
    rows = [
        model("osmr-2020-01-16", series, k, 100 - error, **cells) | extra | {"top1_error": str(error)}
        for k, error in enumerate(errors)
    ]
    for k, row in enumerate(rows):
        row |= {"log_norm": str(k), "alpha_weighted": str(-k), "log_alpha_norm": str(k**2), "alpha": str(k)}
        row |= {"spectral_norm": str(np.exp(k)), "log_stable_rank": str(2.0**k)}
    return rows


def test_groups_are_data_sets_with_the_first_name_of_a_series_and_at_least_four_models():
    efficient = osmr("imagenet-1k", "EfficientNet", range(4))
    for row, name in zip(efficient, ("efficientnet_b0", "efficientnet_b1", "b2", "b3"), strict=True):
        row["model"] = name
    models = table(
        "model_metrics",
        *osmr("imagenet-1k", "VGG/BN-VGG", (1, 2, 2, 4)),
        *osmr("svhn", "VGG", (1, 2, 3)),  # too few
        *osmr("svhn", "WRN", (4, 3, 2, 1)),
        *efficient,  # two of which are left out
    )
    ours = compute("OSMR-within", model_metrics=models)
    r2 = 0.9 * 0.9 * 5 / 4.75  # slope 0.9, sum of squares 5 of the metric and 4.75 of the errors
    assert ours["R2 of log_norm, mean"] == pytest.approx((1 + r2) / 2, abs=1e-12)
    assert ours["R2 of ln(spectral_norm), mean"] == pytest.approx((1 + r2) / 2, abs=1e-12)  # ln exp k is k
    assert ours["R2 of log_norm, sd"] == pytest.approx((1 - r2) / 2**0.5, abs=1e-12)
    assert ours["MSE of alpha_weighted, mean"] == pytest.approx((4.75 - 0.81 * 5) / 4 / 2, abs=1e-12)
    pooled = compute("OSMR-pooled", model_metrics=models)
    assert pooled["models"] == 6  # of ImageNet, whatever the size of their group
    targets = [
        {"collection": "osmr-2020-01-16", "dataset": dataset, "series": series, "metric": metric, "n": "4", "mse": mse}
        for dataset, series, mse in (("imagenet-1k", "VGG", "0.18"), ("svhn", "WRN", "0.00"))
        for metric in ("lognorm", "spectralnormlog", "alpha_weighted", "logpnorm")
    ]
    errors = compute("OSMR", model_metrics=models, targets_osmr_mse=table("targets_osmr_mse", *targets))
    assert errors["groups"] == 2
    assert errors["groups of the published number of models"] == 2
    assert errors["errors that agree to 0.01"] == 6  # k^2 is no line: 0.7 / 4 and 0 are of k alone
    stray = table("targets_osmr_mse", *targets, targets[0] | {"series": "DLA"})
    with pytest.raises(SourceError, match=r"model_metrics.csv: has no group imagenet-1k DLA; expected it, as in"):
        compute("OSMR", model_metrics=models, targets_osmr_mse=stray)


def test_slices_that_do_not_pair_are_refused(tmp_path):
    write(tmp_path, "mm19_vgg_conv_slices.csv", {"model": "vgg11"}, {"model": "vgg11_randomized"})
    twin = {"model": "vgg11", "layer_type": "CONV2D", "level": "SLICE"}
    write(tmp_path, "layer_metrics.csv", twin, twin)
    with pytest.raises(SourceError, match=r"slices.csv: has 1 rows of model vgg11; expected 2, as in layer_"):
        list(reproduce(["F6"], data=tmp_path))


def test_a_printed_number_agrees_with_what_rounds_to_it():
    assert [printed("x", digits).tolerance for digits in ("8", "-1.0", "0.88", ".947")] == pytest.approx(
        [0.5, 0.05, 0.005, 0.0005], rel=1e-8
    )
    check = printed("x", "0.88", "note", Verdict.PUBLISHED_WRONG)
    assert (check.published, check.note, check.expected) == (0.88, "note", Verdict.PUBLISHED_WRONG)
    for ours, verdict in ((0.8751, "reproduced"), (0.8849, "reproduced"), (0.8749, "not reproduced")):
        assert printed("x", "0.88").against(ours).verdict == verdict
    assert {printed("x", digits).against(0.8185).verdict for digits in ("0.818", "0.819")} == {Verdict.REPRODUCED}
