import copy
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import heavytail as ht
from heavytail.diagnosis.row import COLUMNS
from heavytail.errors import RequestError
from heavytail.lab import _meter, callbacks, monitor

with warnings.catch_warnings():  # of the frameworks' own imports
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    lightning = pytest.importorskip("lightning.pytorch")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

LAYERS = ["*c_attn.weight", "*c_fc.weight"]


@pytest.fixture
def clock(monkeypatch):
    """Looks take a second each, all else none, unless a test says so."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

        def analyze(self, *args, **options):
            self.now += 1.0
            return ht.analyze(*args, **options)

    made = Clock()
    monkeypatch.setattr(_meter, "perf_counter", made)
    monkeypatch.setattr(monitor, "analyze", made.analyze)
    return made


def scalars(folder):
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {(e.step, tag): e.value for tag in found.Tags()["scalars"] for e in found.Scalars(tag)}


def assert_logged(found, table):
    """All alphas of a table, and no others, are among the scalars."""
    alphas = {(row["step"], f"spectra/{row['name']}/alpha"): row["alpha"] for row in table.to_dict("records")}
    logged = {key: value for key, value in found.items() if key[1].endswith("/alpha")}
    assert logged == pytest.approx({key: np.float32(value) for key, value in alphas.items()}, rel=1e-6)


# Hugging Face


def gpt():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.GPT2Config(vocab_size=40, n_positions=8, n_embd=64, n_layer=1, n_head=2)
        return transformers.GPT2LMHeadModel(config)


def hugging_face(folder, *called, steps=6, model=None, **options):
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=2,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=2,
        save_strategy="steps",
        save_steps=2,
        seed=1,
        dataloader_pin_memory=False,
        **options,
    )
    tokens = torch.randint(0, 40, (64, 8), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row} for row in tokens]
    return transformers.Trainer(model or gpt(), arguments, train_dataset=data, callbacks=list(called))


def test_trainer_sees_its_optimiser_steps_and_what_it_logs(tmp_path):
    called = callbacks.SpectralTrainerCallback(every=2, layers=LAYERS, budget=1.0, log=tmp_path / "log")
    trainer = hugging_face(tmp_path, called, steps=5, gradient_accumulation_steps=2)
    before = copy.deepcopy(trainer.model)
    trainer.train()
    table = called.monitor.table
    assert table["step"].unique().tolist() == [0, 2, 4, 5]
    for step, model in ((0, before), (5, trainer.model)):
        found = table.loc[table["step"] == step, list(COLUMNS)].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, ht.analyze(model, layers=LAYERS).table, check_exact=True)
    history = {entry["step"]: entry for entry in trainer.state.log_history if "loss" in entry}
    for column in ("loss", "grad_norm", "learning_rate"):
        expected = [history.get(step, {}).get(column, np.nan) for step in table["step"]]
        np.testing.assert_array_equal(table[column], expected)
    assert table["loss"].notna().tolist() == table["step"].isin([2, 4]).tolist()
    assert_logged(scalars(tmp_path / "log"), table)


def test_trainer_trains_bitwise_as_without_it(tmp_path):
    called = callbacks.SpectralTrainerCallback(every=1, budget=1.0, nulls=1)
    runs = []
    for given in [(), (called,)]:  # each begins with the seed of its arguments
        runs.append(hugging_face(tmp_path / str(len(runs)), *given))
        runs[-1].train()
    assert len(called.monitor.table) > 0
    plain, seen = (run.model.state_dict() for run in runs)
    assert all(torch.equal(plain[name], seen[name]) for name in plain)
    assert [entry.get("loss") for entry in runs[0].state.log_history] == [
        entry.get("loss") for entry in runs[1].state.log_history
    ]


def test_trainer_keeps_the_budget(tmp_path, clock):
    class Steps(transformers.TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            clock.now += 2.0

    called = callbacks.SpectralTrainerCallback(every=1, layers="*c_fc.weight", budget=0.2)
    hugging_face(tmp_path, Steps(), called, steps=10).train()
    # The first look takes one second; a second one fits at 8 s of training, and at 12 a third.
    assert called.monitor.table["step"].tolist() == [0, 4, 6, 8, 10]
    assert called.monitor.cost == pytest.approx(5 / 25)
    assert called.monitor.skipped["step"].tolist() == [1, 2, 3, 5, 7, 9]


@pytest.mark.parametrize("restored", [False, True])
def test_trainer_resumes_with_the_table(tmp_path, restored):
    def callback():
        return callbacks.SpectralTrainerCallback(every=2, layers=LAYERS, budget=1.0, spectra=True)

    whole = callback()
    hugging_face(tmp_path / "whole", whole).train()
    checkpoint = tmp_path / "whole" / "checkpoint-2"
    held = json.loads(Path(checkpoint, "trainer_state.json").read_text())["stateful_callbacks"]
    assert held["SpectralTrainerCallback"]["attributes"]["saved"]["step"] == 2
    second = callback()
    trainer = hugging_face(tmp_path / "second", second, restore_callback_states_from_checkpoint=restored)
    trainer.train(resume_from_checkpoint=str(checkpoint))
    (resumed,) = (c for c in trainer.callback_handler.callbacks if type(c) is callbacks.SpectralTrainerCallback)
    pd.testing.assert_frame_equal(
        resumed.monitor.table.drop(columns="seconds"), whole.monitor.table.drop(columns="seconds")
    )
    assert resumed.monitor.table["seconds"].is_monotonic_increasing


def test_trainer_resumes_from_a_checkpoint_made_without_it(tmp_path):
    hugging_face(tmp_path).train()
    called = callbacks.SpectralTrainerCallback(every=2, layers="*c_fc.weight", budget=1.0)
    hugging_face(tmp_path, called, steps=8).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert called.monitor.table["step"].tolist() == [2, 4, 6, 8]


def test_trainer_begins_anew_where_it_is_not_resumed(tmp_path):
    called = callbacks.SpectralTrainerCallback(every=2, layers="*c_fc.weight", budget=1.0)
    trainer = hugging_face(tmp_path, called, steps=2)
    trainer.train()
    trainer.train()
    assert called.monitor.table["step"].tolist() == [0, 2]


def test_only_the_first_process_of_a_trainer_looks():
    called = callbacks.SpectralTrainerCallback()
    state = transformers.TrainerState(is_world_process_zero=False)
    for hook in (called.on_train_begin, called.on_step_end, called.on_log, called.on_train_end):
        hook(None, state, None, model=gpt())
    assert called.monitor is None


# Lightning


class Regression(lightning.LightningModule):
    def __init__(self, dropout=0.2):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(80, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 60))
        self.losses = []

    def training_step(self, batch, index):
        loss = (self.net(batch) - 1).square().mean()
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, *called, model=None, steps=6, checkpoint=None, **options):
    lightning.seed_everything(1, verbose=False)
    trainer = lightning.Trainer(
        default_root_dir=str(folder),
        max_steps=steps,
        callbacks=list(called),
        accelerator="cpu",
        devices=1,
        **{"logger": False, "enable_checkpointing": False} | options,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = model or Regression()
    inputs = torch.randn(48, 80, generator=torch.Generator().manual_seed(0))
    trainer.fit(model, torch.utils.data.DataLoader(inputs, batch_size=4), ckpt_path=checkpoint)
    return trainer, model


quiet = [
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
]


def lightly(test):
    for mark in quiet:
        test = mark(test)
    return test


@lightly
def test_lightning_sees_its_optimiser_steps_and_the_loss(tmp_path):
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    loggers = [TensorBoardLogger(tmp_path, name="tb", version=""), CSVLogger(tmp_path, name="csv", version="")]
    called = callbacks.SpectralCallback(every=2, budget=1.0, log=tmp_path / "log")
    model = Regression()
    before = copy.deepcopy(model)
    fit(tmp_path, called, model=model, steps=5, accumulate_grad_batches=2, logger=loggers)
    table = called.monitor.table
    assert table["step"].unique().tolist() == [0, 2, 4, 5]
    assert table["name"].tolist() == ["net.0", "net.3"] * 4
    for step, seen in ((0, before), (5, model)):
        found = table.loc[table["step"] == step, list(COLUMNS)].reset_index(drop=True)
        expected = ht.analyze(seen, layers=["net.0", "net.3"]).table
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    expected = np.repeat([np.nan, model.losses[3], model.losses[7], np.nan], 2)
    np.testing.assert_allclose(table["loss"], expected, rtol=1e-6)
    assert_logged(scalars(tmp_path / "log"), table)
    assert_logged(scalars(tmp_path / "tb"), table)
    csv = pd.read_csv(tmp_path / "csv" / "metrics.csv").set_index("step")["spectra/net.0/alpha"]
    expected = table[table["name"] == "net.0"].set_index("step")["alpha"]
    pd.testing.assert_series_equal(csv, expected, check_names=False, rtol=1e-12)


@lightly
def test_lightning_trains_bitwise_as_without_it(tmp_path):
    called = callbacks.SpectralCallback(every=1, budget=1.0, nulls=1)
    (_, plain), (_, seen) = fit(tmp_path), fit(tmp_path, called)
    assert called.monitor.table["step"].nunique() == 7
    assert plain.losses == seen.losses
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), seen.parameters(), strict=True))


@lightly
def test_lightning_keeps_the_budget(tmp_path, clock):
    class Steps(lightning.Callback):
        def on_train_batch_start(self, *args):
            clock.now += 2.0

    called = callbacks.SpectralCallback(every=1, layers="net.0", budget=0.2)
    fit(tmp_path, Steps(), called, steps=10)
    assert called.monitor.table["step"].tolist() == [0, 4, 6, 8, 10]
    assert called.monitor.cost == pytest.approx(5 / 25)
    assert called.monitor.skipped["step"].tolist() == [1, 2, 3, 5, 7, 9]


@lightly
def test_what_lightnings_loggers_take_counts(tmp_path, clock):
    class Slow(lightning.loggers.CSVLogger):
        def log_metrics(self, metrics, step=None):
            clock.now += 3.0

    class Steps(lightning.Callback):
        def on_train_batch_start(self, *args):
            clock.now += 2.0

    called = callbacks.SpectralCallback(every=4, layers="net.0", budget=1.0)
    fit(tmp_path, Steps(), called, steps=5, logger=Slow(tmp_path))
    assert called.monitor.table["step"].tolist() == [0, 4, 5]
    assert called.monitor.cost == pytest.approx((3 * 1 + 3 * 3) / (3 * 1 + 3 * 3 + 5 * 2))


@lightly
def test_lightning_resumes_with_the_table(tmp_path):
    def run(called, **options):
        saved = lightning.callbacks.ModelCheckpoint(tmp_path / "kept", every_n_train_steps=12, save_top_k=-1)
        fit(tmp_path, called, saved, model=Regression(dropout=0.0), steps=16, enable_checkpointing=True, **options)

    whole, second = (callbacks.SpectralCallback(every=5, budget=1.0) for _ in range(2))
    run(whole)
    (checkpoint,) = (tmp_path / "kept").glob("*step=12.ckpt")
    run(second, checkpoint=str(checkpoint.rename(tmp_path / "last.ckpt")))
    assert whole.monitor.table["step"].unique().tolist() == [0, 5, 10, 15, 16]
    pd.testing.assert_frame_equal(
        second.monitor.table.drop(columns="seconds"), whole.monitor.table.drop(columns="seconds")
    )


@lightly
def test_lightning_trains_on_with_the_table(tmp_path):
    called = callbacks.SpectralCallback(every=2, budget=1.0, layers="net.0")
    trainer, model = fit(tmp_path, called, steps=4)
    trainer.fit_loop.epoch_loop.max_steps = 8
    trainer.fit(model, torch.utils.data.DataLoader(torch.ones(48, 80), batch_size=4))
    assert called.monitor.table["step"].tolist() == [0, 2, 4, 6, 8]


# Both


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("SpectralTrainerCallback", ["transformers"], "pip install transformers"),
        ("SpectralCallback", ["lightning", "pytorch_lightning"], "pip install lightning"),
    ],
)
def test_a_framework_that_is_missing_is_named(monkeypatch, name, missing, message):
    import sys

    for module in [m for m in sys.modules if m.split(".")[0] in missing] + missing:
        monkeypatch.setitem(sys.modules, module, None)
    maker = callbacks._MAKERS[name]
    monkeypatch.setitem(callbacks._MAKERS, name, maker.__wrapped__)
    with pytest.raises(RequestError, match=f"{name} needs .*: {message}"):
        getattr(callbacks, name)


@pytest.mark.parametrize("name", ["SpectralTrainerCallback", "SpectralCallback"])
def test_a_callback_is_one_class_that_says_what_it_takes(name):
    made = getattr(callbacks, name)
    assert made is getattr(callbacks, name)
    assert "every: steps of the optimiser" in made.__doc__
    assert (made.__module__, made.__name__) == ("heavytail.lab.callbacks", name)
    with pytest.raises(RequestError, match="budget is 2; it must"):
        made(budget=2)
    assert name in dir(callbacks)


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = callbacks.nonsense
