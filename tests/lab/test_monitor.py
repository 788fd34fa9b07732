import copy
import json
import logging
import random
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import heavytail as ht
from heavytail.analysis import estimate
from heavytail.diagnosis.row import COLUMNS
from heavytail.errors import RequestError
from heavytail.lab import _meter, monitor
from heavytail.lab.monitor import Monitor
from heavytail.rmt.ensembles.phases import PHASES


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(120, 100), nn.ReLU(), nn.Linear(100, 80), nn.ReLU(), nn.Linear(80, 60))


def train(model, steps, watch=lambda loss: None, first=0):
    """Train on data that the step's number draws, with dropout from the global generator."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(first, first + steps):
        x = torch.randn(16, 120, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss = (nn.functional.dropout(model(x), 0.2) - 1).square().mean()
        loss.backward()
        optimizer.step()
        watch(loss)
    return model


def pairs(table):
    return list(zip(table["step"], table["name"], strict=True))


@dataclass
class Clock:
    """A clock that only training and looks move: a look moves it by what the cost model says it takes."""

    now: float = 0.0
    pace: float = 1e-9
    slower: float = 1.0

    def __call__(self):
        return self.now

    def work(self, model, names):
        planned = estimate(model)
        return sum(
            c.work for p, c in zip(planned.plans, planned.costs, strict=True) if {x.name for x in p.parts} & set(names)
        )

    def analyze(self, model, layers, **options):
        self.now += self.pace * self.slower * self.work(model, layers)
        return ht.analyze(model, layers, **options)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(_meter, "perf_counter", made)
    monkeypatch.setattr(monitor, "analyze", made.analyze)
    monkeypatch.setattr(monitor, "measure_rate", lambda: 1 / made.pace)
    return made


# What a row is


def test_every_row_is_what_analyze_gives_of_the_model_at_that_step():
    model, copies, losses = network(), {}, {}
    watched = Monitor(model, every=3, budget=1.0, nulls=2, seed=5)
    copies[0] = copy.deepcopy(model)

    def watch(loss):
        seen = watched.step(loss=loss, rate=0.05)
        if seen is not None:
            copies[int(watched.table["step"].iloc[-1])] = copy.deepcopy(model)
            losses[int(watched.table["step"].iloc[-1])] = loss.item()

    train(model, 7, watch)
    assert list(copies) == [0, 3, 6]
    table = watched.table
    assert list(table.columns) == ["step", "seconds", *COLUMNS, "loss", "rate"]
    for step, copied in copies.items():
        expected = ht.analyze(copied, nulls=2, seed=5).table
        expected = expected[expected["status"] != "skipped"].reset_index(drop=True)
        found = table[table["step"] == step].reset_index(drop=True)
        pd.testing.assert_frame_equal(found[list(COLUMNS)], expected, check_exact=True, check_dtype=False)
    assert table["num_traps"].notna().all()
    assert table.loc[table["step"] > 0, "loss"].tolist() == [losses[3]] * 3 + [losses[6]] * 3
    assert table.loc[table["step"] == 0, ["loss", "rate"]].isna().all(axis=None)


def test_the_training_is_bitwise_the_one_without_a_monitor():
    def run(watching):
        torch.manual_seed(3)
        model = network()
        watched = Monitor(model, every=1, budget=1.0, nulls=1) if watching else None
        train(model, 4, watched.step if watching else lambda loss: None)
        return model, torch.get_rng_state()

    (plain, state), (seen, seen_state) = run(False), run(True)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), seen.parameters(), strict=True))
    assert torch.equal(state, seen_state)


def test_model_and_host_are_left_as_they_were():
    from threadpoolctl import threadpool_info

    model = train(network(), 1)
    model[2].eval()
    np.random.seed(1)  # noqa: NPY002
    before = copy.deepcopy([p.grad for p in model.parameters()])

    def host():
        generators = (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate())  # noqa: NPY002
        threads = (torch.get_num_threads(), [(p["filepath"], p["num_threads"]) for p in threadpool_info()])
        return (*generators, *threads, torch.is_grad_enabled(), [m.training for m in model.modules()])

    Monitor(network(), budget=1.0)  # what is loaded once is loaded
    as_it_was = host()
    hooks = [m._forward_hooks | m._forward_pre_hooks for m in model.modules()]
    watched = Monitor(model, every=1, budget=1.0, nulls=1, jobs=2)
    watched.step()
    assert host() == as_it_was
    assert all(torch.equal(a, p.grad) for a, p in zip(before, model.parameters(), strict=True))
    assert [m._forward_hooks | m._forward_pre_hooks for m in model.modules()] == hooks
    assert all(p.requires_grad for p in model.parameters())


def test_eigenvalues_are_kept_on_request_and_are_the_squared_singular_values(tmp_path):
    model = network()
    watched = Monitor(model, spectra=True)
    for name, evals in watched.table.set_index("name")["evals"].items():
        expected = np.linalg.svd(model[int(name)].weight.detach().double().numpy(), compute_uv=False)[::-1] ** 2
        np.testing.assert_allclose(evals, expected, rtol=1e-9, atol=1e-9 * expected[-1])
    assert "evals" not in Monitor(model).table
    watched.to_parquet(tmp_path / "table.parquet")
    back = pd.read_parquet(tmp_path / "table.parquet")
    assert list(back.columns) == list(watched.table.columns)
    np.testing.assert_array_equal(back["evals"][0], watched.table["evals"][0])


def test_layers_are_chosen_by_name_and_tied_weights_are_one():
    model = nn.ModuleDict({"in[0]": nn.Embedding(90, 32), "fc": nn.Linear(32, 32), "out": nn.Linear(32, 90)})
    model["out"].weight = model["in[0]"].weight
    assert Monitor(model).table["name"].tolist() == ["in[0]", "fc"]
    assert Monitor(model, layers="f*").table["name"].tolist() == ["fc"]
    assert Monitor(model, layers=["in*", "fc.weight"]).table["status"].tolist() == ["ok", "ok"]
    with pytest.raises(RequestError, match=r"no weight matrix of .* 'out' is tied to"):
        Monitor(model, layers="out")


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # in torch.compile
@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, lambda m: torch.compile(nn.DataParallel(m))])
def test_wrappers_do_not_show_in_names(wrap):
    assert Monitor(wrap(network())).table["name"].tolist() == ["0", "2", "4"]


def test_fused_matrices_are_rows_of_their_own():
    model = nn.MultiheadAttention(32, 4)
    names = ["in_proj_weight:q", "in_proj_weight:k", "in_proj_weight:v", "out_proj"]
    assert Monitor(model).table["name"].tolist() == names
    assert Monitor(model, layers="*:k").table["name"].tolist() == names[1:2]


# When it looks


def test_it_looks_every_so_many_steps_and_before_the_first():
    watched = Monitor(network(), every=3, budget=1.0, layers="0")
    seen = [watched.step() is not None for _ in range(7)]
    assert seen == [False, False, True, False, False, True, False]
    assert watched.table["step"].tolist() == [0, 3, 6]


def test_steps_that_are_told_count_and_no_multiple_is_jumped_over():
    watched = Monitor(network(), every=5, budget=1.0, layers="0", initial=False)
    for number in (1, 4, 7, 7, 9, 22, 24, 25):
        watched.step(number)
    assert watched.table["step"].tolist() == [7, 22, 25]


def test_a_look_that_is_asked_for_sees_what_was_not_seen_at_that_step(clock):
    watched = Monitor(network(), every=2, layers=["0", "2"])
    assert watched.look() is None
    watched.step()
    assert [row.name for row in watched.look(loss=1).rows] == ["0", "2"]
    assert watched.look() is None
    assert pairs(watched.table) == [(0, "0"), (0, "2"), (1, "0"), (1, "2")]


def test_the_end_is_seen_as_far_as_the_budget_allows(clock):
    watched = Monitor(network(), every=10, budget=0.5, layers="0", initial=False)
    for _ in range(3):
        clock.now += 100
        watched.step()
    watched.close()
    watched.close()
    assert watched.table["step"].tolist() == [3]
    poor = Monitor(network(), every=10, budget=0.5, layers="0", initial=False)
    poor.step()
    poor.close()
    assert (len(poor.table), pairs(poor.skipped)) == (0, [(1, "0")])


def test_what_is_noted_stands_beside_the_looks_of_that_step():
    watched = Monitor(network(), every=2, budget=1.0, layers="0")
    for step in range(1, 5):
        watched.step(loss=step)
        watched.note(test_loss=10 * step)
    table = watched.table
    assert table["loss"].tolist()[1:] == [2, 4]
    assert table["test_loss"].tolist()[1:] == [20, 40]
    assert table.loc[0, ["loss", "test_loss"]].isna().all()


class Scalar:
    """A number on a device, which counts how often it is read."""

    reads = 0

    def item(self):
        Scalar.reads += 1
        return 0.25


def test_scalars_are_read_only_for_a_row():
    watched = Monitor(network(), every=5, budget=1.0, layers="0")
    for _ in range(14):
        watched.step(loss=Scalar())
    assert Scalar.reads == 2
    assert watched.table["loss"].tolist()[1:] == [0.25, 0.25]


def test_a_scalar_that_is_none_is_missing_and_said_to_be(caplog):
    watched = Monitor(network(), every=1, budget=1.0, layers="0")
    with caplog.at_level(logging.WARNING):
        watched.step(loss=torch.ones(2), note="text")
    assert watched.table.loc[1, ["loss", "note"]].isna().all()
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "scalar 'loss' is missing in the table",
        "scalar 'note' is missing in the table",
    ]


def test_a_scalar_cannot_have_the_name_of_a_column():
    watched = Monitor(network(), layers="0")
    for call in (watched.step, watched.look, watched.note):
        with pytest.raises(RequestError, match="scalar 'alpha' has the name of a column"):
            call(alpha=2.0)


# What it costs


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.3])
def test_the_share_never_passes_the_budget_and_what_is_left_out_is_said(clock, budget):
    model = nn.ModuleDict({"big": nn.Linear(300, 300), **{str(i): nn.Linear(32, 32) for i in range(4)}})
    watched = Monitor(model, every=2, budget=budget, initial=False)
    for _ in range(400):
        clock.now += 0.05 / budget
        watched.step()
        assert watched.cost <= budget * (1 + 1e-12)
    seen, left = pairs(watched.table), pairs(watched.skipped)
    assert sorted([*seen, *left]) == sorted((step, name) for step in range(2, 401, 2) for name in model)
    assert left
    counts = watched.table["name"].value_counts()
    assert set(counts.index) == set(model)
    assert counts.max() - counts.min() <= 1  # none starves, neither the large one nor the small ones
    assert watched.cost > 0.8 * budget
    reason = (
        rf"nothing is left of the budget of {budget}|"
        rf"it would make the look one of about \S+ s, and \S+ s are left of the budget of {budget}"
    )
    assert watched.skipped["reason"].str.fullmatch(reason).all()


def test_the_look_before_training_is_made_and_later_ones_wait_until_it_is_paid_for(clock):
    model = network()
    watched = Monitor(model, every=1, budget=0.1)
    took = clock.now
    assert took > 0
    assert watched.table["seconds"].tolist() == [0, 0, 0]
    clock.now += 9 * took - 1e-6  # what is spent is a tenth of it all, so that no layer fits
    watched.step()
    assert len(watched.table) == 3
    clock.now += 9 * took + 2e-6  # twice that is a tenth
    watched.step()
    assert pairs(watched.table)[3:] == [(2, "0"), (2, "2"), (2, "4")]
    assert watched.cost == pytest.approx(0.1, rel=1e-4)
    assert pairs(watched.skipped) == [(1, "0"), (1, "2"), (1, "4")]


def test_a_look_that_took_longer_than_predicted_is_paid_for_by_later_ones(clock):
    watched = Monitor(network(), every=1, budget=0.2, layers="0", initial=False)
    unit = clock.pace * clock.work(network(), ["0"])
    clock.now += 4.0001 * unit  # room for one unit
    clock.slower = 3
    assert watched.step() is not None
    assert watched.cost == pytest.approx(3 / 7.0001)
    seen = []
    for _ in range(30):  # the next one is predicted to take three units: 6 = 0.25 * 24
        clock.now += unit
        seen.append(watched.step() is not None)
    assert seen.index(True) == 19
    assert watched.cost <= 0.2


def test_the_cost_is_the_share_of_the_time_within_its_calls(clock):
    watched = Monitor(network(), every=3, budget=1.0)
    own, training = clock.now, 0.0
    for _ in range(6):
        clock.now += 0.5
        training += 0.5
        before = clock.now
        watched.step()
        own += clock.now - before
    assert watched.cost == pytest.approx(own / (own + training), rel=1e-12)
    assert watched.table["seconds"].tolist()[-1] == pytest.approx(own / 3 * 2 + training, rel=1e-12)
    assert f"{watched.cost:.2%}" in repr(watched)


def test_before_the_first_look_the_pace_is_that_of_a_matrix_product(clock):
    unit = clock.pace * clock.work(network(), ["0"])
    watched = Monitor(network(), every=1, budget=0.5, layers="0", initial=False)
    clock.now += 0.99 * unit
    assert watched.step() is None
    clock.now += 0.02 * unit
    assert watched.step() is not None


# What goes wrong


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_layer_that_is_no_longer_finite_has_a_row_that_says_so(value):
    model = network()
    watched = Monitor(model, every=1, budget=1.0)
    with torch.no_grad():
        model[2].weight[3, 4] = value
    assert watched.step() is not None
    last = watched.table.tail(3).set_index("name")
    assert last["status"].tolist() == ["ok", "failed", "ok"]
    assert last.loc["2", "reason"] == ht.analyze(model, layers="2").rows[0].reason != ""
    assert np.isnan(last.loc["2", "alpha"])


def test_a_look_that_fails_as_a_whole_fails_its_rows_and_not_the_training():
    model = network()
    watched = Monitor(model, every=1, budget=1.0)
    for name in "024":
        model[int(name)] = nn.Identity()
    watched.step()
    found = watched.table.set_index("step").loc[1]
    assert found["name"].tolist() == ["0", "2", "4"]
    assert found["status"].tolist() == ["failed"] * 3
    assert found["reason"].tolist() == ["Sequential: holds no tensors"] * 3


def test_a_layer_that_is_taken_out_has_a_row_that_says_so():
    model = network()
    watched = Monitor(model, every=1, budget=1.0)
    model[2] = nn.Identity()
    watched.step()
    last = watched.table.tail(3).set_index("name")
    assert last["status"].to_dict() == {"0": "ok", "4": "ok", "2": "failed"}
    assert last.loc["2", "reason"] == "the model no longer has it"


def test_no_memory_is_a_reason(monkeypatch):
    def analyze(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(monitor, "analyze", analyze)
    table = Monitor(network()).table
    assert table["status"].tolist() == ["failed"] * 3
    assert table["reason"].tolist() == ["not enough memory"] * 3
    assert table["N"].tolist() == [120, 100, 80]


def test_an_interruption_from_the_keyboard_passes_and_the_monitor_goes_on(monkeypatch):
    def analyze(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(monitor, "analyze", analyze)
        watched = Monitor(network(), every=2, budget=1.0, initial=False)
        watched.step()
        with pytest.raises(KeyboardInterrupt):
            watched.step()
    watched._analyze = ht.analyze
    watched.step()
    watched.step()
    assert watched.table["step"].tolist() == [4, 4, 4]


def test_a_layer_that_cannot_be_read_as_numbers_has_a_row_that_says_so():
    model = nn.Sequential(nn.Linear(64, 32, device="meta"), nn.Linear(32, 40))
    table = Monitor(model).table
    assert table["status"].tolist() == ["unsupported", "ok"]
    assert "meta" in table["reason"][0]


def test_a_layer_without_a_shape_is_refused():
    with pytest.raises(RequestError, match=r"0\.weight is lazy and has no shape yet; run the model once"):
        Monitor(nn.Sequential(nn.LazyLinear(32), nn.Linear(32, 40)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is 0; it must be a whole number of at least 1"),
        ({"every": 2.5}, "every is 2.5; it must"),
        ({"budget": 0}, "budget is 0; it must be a share of the time, above 0 and at most 1"),
        ({"budget": 5}, "budget is 5; it must"),
        ({"budget": float("nan")}, "budget is nan; it must"),
        ({"nulls": -1}, "nulls is -1; it must"),
        ({"seed": "a"}, "seed is 'a'; it must"),
        ({"jobs": 0}, "jobs is 0; it must"),
        ({"layers": "nothing"}, "no layer of .* matches 'nothing'"),
        ({"layers": ["0", "phase=heavy*"]}, "a monitor chooses layers by name"),
        ({"layers": "*.bias"}, "no weight matrix of .* matches .*'0.bias' is a vector of 100"),
        ({"log": 3}, "log is 3; it must be a folder or a SummaryWriter"),
    ],
)
def test_requests_that_cannot_be_understood(options, message):
    with pytest.raises(RequestError, match=message):
        Monitor(network(), **options)


def test_only_a_module_is_followed():
    with pytest.raises(RequestError, match=r"model is a dict; the monitor needs a torch\.nn\.Module"):
        Monitor({"fc": np.eye(30)})


@pytest.fixture
def _processes(tmp_path):
    """A group of one process."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("_processes")
def test_sharded_weights_are_refused():
    from torch.distributed.tensor import DTensor, init_device_mesh

    model, mesh = network(), init_device_mesh("cpu", (1,))
    model[2].weight = nn.Parameter(DTensor.from_local(model[2].weight.detach(), mesh))
    with pytest.raises(RequestError, match=r"2\.weight is sharded over processes"):
        Monitor(model)


@pytest.mark.usefixtures("_processes")
def test_a_model_of_several_processes_is_followed_in_one():
    model = nn.parallel.DistributedDataParallel(network())
    watched = Monitor(model, every=1, budget=1.0)
    train(model, 2, lambda loss: watched.step(loss=loss))
    assert pairs(watched.table) == [(step, name) for step in range(3) for name in "024"]


# Going on


@pytest.mark.parametrize("by", ["json", "torch"])
def test_a_resumed_training_goes_on_with_its_table(tmp_path, clock, by):
    def steps(watched, model, count, first=0):
        def watch(loss):
            clock.now += 1.0
            watched.step(loss=loss)

        train(model, count, watch, first)

    options = {"every": 2, "budget": 0.25, "nulls": 1, "spectra": True}
    clock.pace = 3e-10
    torch.manual_seed(0)
    model = network()
    whole = Monitor(model, **options)
    steps(whole, model, 10)

    clock.now = 0.0
    torch.manual_seed(0)
    model = network()
    half = Monitor(model, **options)
    steps(half, model, 5)
    if by == "json":
        state = json.loads(json.dumps(half.state_dict()))
    else:
        torch.save(half.state_dict(), tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = Monitor(model, initial=False, **options)
    resumed.load_state_dict(state)
    steps(resumed, model, 5, 5)
    assert set(whole.skipped["step"])
    pd.testing.assert_frame_equal(resumed.table, whole.table, rtol=1e-12)
    pd.testing.assert_frame_equal(resumed.skipped, whole.skipped)
    assert resumed.cost == pytest.approx(whole.cost, rel=1e-12)


def test_a_first_look_before_a_resumption_is_lost_and_paid_for(clock):
    first = Monitor(network(), every=1, budget=1.0, layers="0")
    first.step()
    took, state = clock.now, first.state_dict()  # two looks
    second = Monitor(network(1), every=1, budget=1.0, layers="0")
    second.load_state_dict(state)
    pd.testing.assert_frame_equal(second.table, first.table)
    clock.now += took
    assert second.cost == pytest.approx(3 / 5)


# The log


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0}).Reload()


def logged(folder):
    found = events(folder)
    return {(e.step, tag): e.value for tag in found.Tags()["scalars"] for e in found.Scalars(tag)}


@pytest.fixture(scope="module", autouse=True)
def _tensorboard():
    """Import it where its own warnings are nobody's concern."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch.utils.tensorboard  # noqa: F401
        from tensorboard.backend.event_processing import event_accumulator  # noqa: F401


def test_what_is_logged_is_what_the_table_has(tmp_path):
    model = network()
    watched = Monitor(model, every=2, budget=1.0, nulls=1, log=tmp_path)
    train(model, 5, lambda loss: watched.step(loss=loss))
    watched.close()
    found = logged(tmp_path)
    columns = {tag.split("/")[2] for _, tag in found if tag.startswith("spectra/")}
    assert {"alpha", "alpha_lo", "alpha_hi", "mp_softrank", "num_traps", "phase"} <= columns
    table = watched.table
    assert table["step"].unique().tolist() == [0, 2, 4, 5]
    for row in table.to_dict("records"):
        for column in columns - {"phase"}:
            value = found.get((row["step"], f"spectra/{row['name']}/{column}"), np.nan)
            assert value == pytest.approx(np.float32(row[column]), rel=1e-7, nan_ok=True)
        index = found.get((row["step"], f"spectra/{row['name']}/phase"))
        assert row["phase"] == ("undecided" if index is None else PHASES[int(index)])
    assert {step for step, tag in found if tag == "monitor/cost"} == {0, 2, 4, 5}
    texts = events(tmp_path).Tensors("spectra/phases/text_summary")
    assert [e.step for e in texts] == [0, 2, 4, 5]
    last = texts[-1].tensor_proto.string_val[0].decode()
    assert all(f"| {r['name']} | {r['phase']} |" in last for r in table.tail(3).to_dict("records"))
    histogram = events(tmp_path).Histograms("spectra/2/log10_evals")[-1].histogram_value
    evals = np.linalg.svd(model[2].weight.detach().double().numpy(), compute_uv=False) ** 2
    assert (histogram.num, histogram.max) == (80, pytest.approx(np.log10(evals.max())))


def test_what_is_left_out_is_logged_with_the_next_look_and_at_the_end(tmp_path, clock):
    watched = Monitor(network(), every=1, budget=0.1, log=tmp_path)
    took = clock.now
    for passed in (0, 0, 18.1 * took, 0, 0):
        clock.now += passed
        watched.step()
    watched.close()
    assert watched.skipped["step"].tolist() == [1, 1, 1, 2, 2, 2, 4, 4, 4, 5, 5, 5]
    found = {step: value for (step, tag), value in logged(tmp_path).items() if tag == "monitor/left_out"}
    assert found == {0: 0, 3: 6, 5: 6}


def test_the_wait_for_a_device_is_of_the_training(clock, monkeypatch):
    waits = []

    def synchronize():
        waits.append(clock.now)
        clock.now += 5.0

    watched = Monitor(network(), every=2, budget=0.5)
    took = clock.now
    monkeypatch.setattr(torch.cpu, "synchronize", synchronize)
    for _ in range(4):
        watched.step()
    assert waits == []  # nothing fits, and no device is asked
    clock.now += 2.1 * took
    watched.step()
    watched.step()
    assert len(waits) == 1
    assert watched.cost == pytest.approx(2 * took / (4.1 * took + 5))


def test_nothing_is_written_unless_told_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    watched = Monitor(network(), every=1, budget=1.0)
    watched.step()
    watched.close()
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_log_has_each_step_once(tmp_path):
    model = network()
    options = {"every": 1, "budget": 1.0, "log": tmp_path / "log", "layers": "0"}
    first = Monitor(model, **options)
    first.step()
    state = first.state_dict()
    alphas = first.table["alpha"].tolist()
    train(model, 3)
    first.step()  # of a run that is lost after its last checkpoint
    first.close()
    resumed = Monitor(train(network(), 1), **options)
    resumed.load_state_dict(state)
    resumed.step()
    resumed.close()
    found = events(tmp_path / "log").Scalars("spectra/0/alpha")
    assert [e.step for e in found] == [0, 1, 2]
    np.testing.assert_allclose([e.value for e in found], [*alphas, resumed.table["alpha"].iloc[-1]], rtol=1e-6)


def test_a_writer_that_is_given_stays_open(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        watched = Monitor(network(), every=1, budget=1.0, log=writer, layers="0")
        watched.step()
        watched.close()
        writer.add_scalar("mine", 7.0, 1)
    assert {(0, "spectra/0/alpha"), (1, "spectra/0/alpha"), (1, "mine")} <= set(logged(tmp_path))


def test_a_log_that_fails_ends_and_the_training_does_not(caplog):
    class Full:
        calls = 0

        def add_scalar(self, *args):
            Full.calls += 1
            raise OSError(28, "No space left on device")

    watched = Monitor(network(), every=1, budget=1.0, log=Full(), layers="0")
    with caplog.at_level(logging.WARNING):
        watched.step()
        watched.step()
    assert len(watched.table) == 3
    assert Full.calls == 1
    assert [r.getMessage() for r in caplog.records] == [
        "the log of spectra ends at step 0: [Errno 28] No space left on device"
    ]


def test_without_tensorboard_a_log_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RequestError, match="log needs TensorBoard: pip install tensorboard"):
        Monitor(network(), log=tmp_path)


def test_the_modules_import_neither_torch_nor_a_framework():
    code = "import sys, heavytail.lab.monitor, heavytail.lab.callbacks; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"torch", "transformers", "lightning", "pytorch_lightning", "tensorboard"} & set(done.stdout.split())
