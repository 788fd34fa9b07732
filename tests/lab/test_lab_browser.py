"""The page of a run in a real browser; skipped where Debian's chromium is missing."""

from dataclasses import replace

import numpy as np
import pytest
from browser import BACKGROUND, hover, one, press, says, sideways, texts, visit, written
from lab import run_sample as sample
from report.sample import HOSTILE

from heavytail.lab.page import render

pytest.importorskip("pyarrow", reason="a run's table is Parquet")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    return written(folder, render(sample.write(folder / "run", missing=["b8-s1"])))


def choose(page, name, value):
    one(page, f'input[name="{name}"][value="{value}"] + span').click()


def places(page, chart, selector):
    """Where marks stand, and what their tips say."""
    script = (
        "const marks = document.querySelectorAll(arguments[0])[arguments[1]].querySelectorAll(arguments[2]);"
        "return [...marks].map(p => [p.dataset.tip, p.transform.baseVal[0].matrix.e, p.transform.baseVal[0].matrix.f])"
    )
    return page.execute_script(script, *chart, selector)


def test_there_is_a_line_a_setting_and_a_point_a_look(page):
    for chart in range(3):
        panel = page.find_elements("css selector", "#curves .panel")[chart]
        assert len(panel.find_elements("css selector", ".line")) == len(sample.BATCHES)
        assert len(panel.find_elements("css selector", ".point")) == len(sample.BATCHES) * len(sample.EPOCHS)


def test_points_of_the_curves_stand_where_the_means_say(page):
    marks = places(page, ("#curves .panel", 1), ".point")
    expected = []
    for batch in sample.BATCHES:
        seeds = [seed for seed in sample.SEEDS if (batch, seed) != (8, 1)]
        expected += [np.mean([sample.accuracy(batch, seed, epoch) for seed in seeds]) for epoch in sample.EPOCHS]
    assert np.corrcoef([top for _, _, top in marks], expected)[0, 1] == pytest.approx(-1, abs=1e-4)
    left = np.array([left for _, left, _ in marks]).reshape(len(sample.BATCHES), -1)
    assert np.ptp(left, axis=0).max() == 0
    one_to_four, four_to_twenty = np.diff(left[0])[1:]
    assert four_to_twenty / one_to_four == pytest.approx(np.log(5) / np.log(4), abs=0.01)


def test_loss_steps_and_other_numbers_can_be_chosen(page):
    choose(page, "measure", "loss")
    assert texts(page, "#curves h3")[:2] == ["Training loss", "Test loss"]
    choose(page, "time", "step")
    assert set(texts(page, "#curves .axes .title:nth-last-child(2)")) == {"step"}
    assert "step 1000" in str(places(page, ("#curves .panel", 1), ".point"))  # 20 epochs of 50 steps
    one(page, '#curves option[value="stable_rank"]').click()
    assert "stable rank of fc1 21, 3 seeds from 20 to 22" in str(places(page, ("#curves .panel", 2), ".point"))


def test_the_ends_have_a_ring_a_seed_and_a_mean_a_setting(page):
    assert texts(page, "#ends h3") == ["Test accuracy", "MP soft rank of fc1", "Stable rank of fc1", "α of fc1"]
    panel = page.find_elements("css selector", "#ends .panel")[1]
    assert len(panel.find_elements("css selector", ".seed")) == 8
    marks = places(page, ("#ends .panel", 1), ".point")
    mean = np.mean([sample.softrank(500, seed, 20) for seed in sample.SEEDS])
    assert marks[2][0].startswith(f"batch 500\nMP soft rank of fc1 {mean:.3g} (")
    left = [left for _, left, _ in marks]
    assert (left[2] - left[1]) / (left[1] - left[0]) == pytest.approx(np.log(500 / 8) / np.log(4), abs=0.02)


def test_another_layer_changes_all_that_is_of_a_layer(page):
    choose(page, "layer", "fc2")
    assert says(page, "#spectra-title bdi", "fc2")
    assert texts(page, "#ends h3")[1] == "MP soft rank of fc2"
    assert one(page, "#phases-title bdi").text == "fc2"
    assert page.execute_script("return location.hash") == "#layer=fc2"


def test_the_address_names_the_layer(driver, address):
    for page in visit(driver, f"{address}#layer=fc2"):
        assert says(page, "#spectra-title bdi", "fc2")
        assert one(page, 'input[name="layer"]:checked').get_attribute("value") == "fc2"


def test_spectra_are_small_multiples_of_settings_and_looks(page):
    assert texts(page, "#spectra-table thead th") == ["batch", *(f"epoch {epoch}" for epoch in sample.EPOCHS)]
    rows = page.find_elements("css selector", "#spectra-table tbody tr")[: len(sample.BATCHES)]
    for batch, row in zip(sample.BATCHES, rows, strict=True):
        assert one(row, "th").text == str(batch)
        assert texts(row, ".phase") == [sample.phase(batch, 0, epoch) for epoch in sample.EPOCHS]
        coloured = [bool(path.get_attribute("d")) for path in row.find_elements("css selector", "path.tail")]
        assert coloured == [sample.spikes(batch, epoch) > 0 for epoch in sample.EPOCHS]
        edges = page.execute_script(
            "return [...arguments[0].querySelectorAll('line.noise')].map(l => l.x1.baseVal.value)", row
        )
        assert len(edges) == len(sample.EPOCHS)
        assert np.ptp(edges) == 0


def test_a_seed_that_is_not_finished_says_so(page):
    choose(page, "seed", "1")
    assert texts(page, "#spectra-table tbody tr:nth-child(2) .calm") == ["not finished"]


def test_arrows_go_from_spectrum_to_spectrum(page):
    from selenium.webdriver.common.keys import Keys

    page.execute_script("document.querySelector('#spectra-table .cell').focus()")
    assert "batch 2, seed 0, epoch 0" in one(page, "#tip").text
    press(page, Keys.ARROW_RIGHT)
    assert "batch 2, seed 0, epoch 1\nbulk+spikes" in one(page, "#tip").text


def test_arrows_go_along_a_curve(page):
    from selenium.webdriver.common.keys import Keys

    page.execute_script("document.querySelector('#curves .point').focus()")
    press(page, Keys.ARROW_RIGHT)
    mean = np.mean([sample.accuracy(2, seed, 1) + 0.1 for seed in sample.SEEDS])
    assert one(page, "#tip").text.startswith(f"batch 2, epoch 1\ntraining accuracy {mean:.3g}, 3 seeds from ")


def test_the_phases_have_a_stripe_a_seed_and_their_words(page):
    assert texts(page, "#phase-table thead th") == ["batch", "epoch 0", "1", "4", "20"]
    rows = page.find_elements("css selector", "#phase-table .stripe")
    for batch, row in zip(sample.BATCHES, rows, strict=True):
        assert one(row, "th").text == str(batch)
        for epoch, cell in zip(sample.EPOCHS, row.find_elements("css selector", ".cell"), strict=True):
            stripes = cell.find_elements("css selector", "i")
            colours = [stripe.value_of_css_property("background-color") for stripe in stripes]
            phases = [sample.phase(batch, seed, epoch) for seed in sample.SEEDS if (batch, seed) != (8, 1)]
            assert len(colours) == len(phases)
            assert len(set(colours)) == len(set(phases))
    words = [texts(row, "td") for row in page.find_elements("css selector", "#phase-table .word")]
    assert words == [["random-like", "bulk+spikes"], ["random-like"], ["random-like"]]
    hover(page, rows[1].find_elements("css selector", ".cell")[-1])
    assert "seed 2: bleeding-out" in one(page, "#tip").text
    assert texts(page, "#phase-legend .phase") == ["random-like", "bleeding-out", "bulk+spikes"]


def test_a_setting_stands_out_where_it_is_pressed(page):
    one(page, "#settings button:nth-of-type(2)").click()
    faint = "return [...document.querySelectorAll('.panel [data-setting]')].filter(n => " \
        "n.classList.contains('faint') === (n.dataset.setting === '1')).length"  # fmt: skip
    assert page.execute_script(faint) == 0
    one(page, "#settings button:nth-of-type(2)").click()
    page.execute_script("document.activeElement.blur()")
    hover(page, one(page, "h1"))
    assert page.execute_script("return document.querySelectorAll('.faint').length") == 0


def test_of_many_settings_those_of_one_place_stand_out_together(driver, tmp_path):
    base = sample.trials(batches=(2, 8, 500), seeds=(0,))
    recipes = {f"{k}-{r}": replace(base[k], rate=r) for k in base for r in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)}
    run = sample.write(tmp_path / "run", recipes=recipes)
    run = replace(run, experiment=replace(run.experiment, measure=lambda table: {}))
    for page in visit(driver, written(tmp_path, render(run))):
        assert texts(page, "#settings button") == ["2", "8", "500"]
        one(page, "#settings button:nth-of-type(2)").click()
        lit = page.find_elements("css selector", "#curves .panel:first-child .line:not(.faint)")
        assert [line.get_attribute("data-setting") for line in lit] == [str(k) for k in range(6, 12)]
        assert page.find_elements("css selector", ".shade") == []
        assert len(page.find_elements("css selector", "#spectra-table .cell")) == 10 * len(sample.EPOCHS)
        assert one(page, "#spectra-note").text.startswith("10 of 18 rows are shown.")


def test_every_statement_has_its_range_drawn(page):
    ranges = page.find_elements("css selector", "#statements .range")
    assert [len(host.find_elements("css selector", ".zone")) for host in ranges] == [1] * len(ranges)
    inside = (
        "return [...document.querySelectorAll('#statements li')].map(li => { const z = li.querySelector('.zone');"
        "const m = li.querySelector('.mean'); if (!z || !m) return null; const c = m.cx.baseVal.value;"
        "return z.x.baseVal.value - 1 <= c && c <= z.x.baseVal.value + z.width.baseVal.value + 1; })"
    )
    verdicts = texts(page, "#statements .verdict-of")
    for drawn, verdict in zip(page.execute_script(inside), verdicts, strict=True):
        assert drawn in {"holds": [True], "does not hold": [False], "not measured": [None]}.get(verdict, [True, False])
    assert {"holds", "does not hold"} <= set(verdicts)


def test_the_capacity_table_has_the_error_first(page):
    lines = texts(page, "#capacity-table tbody th")
    assert lines[0] == "test error"
    assert texts(page, "#capacity-table tbody tr:nth-child(2) td")[0] == "1 (1 to 1)"


def test_light_and_dark_differ_and_toggle(page):
    light = page.execute_script(BACKGROUND)
    one(page, "#theme").click()
    assert page.execute_script(BACKGROUND) != light


def test_nothing_sticks_out_sideways(width, page):
    assert sideways(page) <= 0
    over = (
        "const edge = document.querySelector('main').getBoundingClientRect().right;"
        "return [...document.querySelectorAll('.panel svg, .range svg')]"
        ".filter(n => n.getBoundingClientRect().right > edge + 1).length"
    )
    assert page.execute_script(over) == 0


def test_a_layer_that_one_network_lacks_is_said_to_be_missing(driver, tmp_path):
    recipes = sample.trials(batches=(2, 8), seeds=(0,))
    run = sample.write(tmp_path / "run", recipes=recipes, missing=["b8-s0"])
    sample.rows("b8-s0", recipes["b8-s0"], layers=("fc2",)).to_parquet(run.rows_of("b8-s0"), index=False)
    for page in visit(driver, written(tmp_path, render(run))):
        assert texts(page, "#spectra-table .calm") == ["not followed"]
        assert len(page.find_elements("css selector", "#phase-table .stripe")) == 1
        choose(page, "layer", "fc2")
        assert says(page, "#spectra-title bdi", "fc2")
        assert page.find_elements("css selector", "#spectra-table .calm") == []


@pytest.mark.parametrize("kind", ["one setting", "no layer", "one training"])
def test_runs_of_other_kinds_are_drawn_without_a_fault(kind, driver, tmp_path):
    recipes = sample.trials(
        batches=(8,) if kind == "one setting" else (2, 8), seeds=(0,) if kind == "one training" else (0, 1)
    )
    run = sample.write(
        tmp_path / "run",
        recipes=recipes,
        missing=["b2-s0"] if kind == "one training" else (),
        layers=() if kind == "no layer" else sample.LAYERS,
        identity={"one setting": "E16", "no layer": "T6-pixels"}.get(kind, "E21"),
    )
    for page in visit(driver, written(tmp_path, render(run))):
        assert len(page.find_elements("css selector", "#curves .line")) >= 2
        assert one(page, "#spectra").is_displayed() == (kind != "no layer")
        assert one(page, "#settings").is_displayed() == (kind != "one setting")


def test_hostile_names_are_shown_as_text_and_run_nothing(driver, tmp_path):
    run = sample.write(tmp_path / "run", recipes=sample.trials(seeds=(0,)), layers=("fc1", HOSTILE))
    for page in visit(driver, written(tmp_path, render(run))):
        page.find_elements("css selector", 'input[name="layer"] + span')[1].click()
        assert says(page, "#spectra-title bdi", HOSTILE)
        assert page.find_elements("css selector", "img") == []
