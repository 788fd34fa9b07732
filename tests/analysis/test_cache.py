import errno
import logging
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from analysis.runs import finish, layers, records, start, written
from cases import Reads, gaussian, student, tensor

import heavytail as ht
from heavytail.analysis.cache import Cache, digest_of
from heavytail.cli import main
from heavytail.errors import RequestError
from heavytail.weights.formats.files import LocalFile
from heavytail.weights.formats.ranges import Plain

OPTIONS = {
    "none": {},
    "bootstrap": {"bootstrap": 40},
    "seed of the bootstrap": {"bootstrap": 40, "seed": 1},
    "nulls": {"nulls": 2},
    "seed of the nulls": {"nulls": 2, "seed": 1},
    "more nulls": {"nulls": 3},
    "vectors": {"vectors": True},
    "all": {"bootstrap": 40, "nulls": 2, "vectors": True, "seed": 2},
    "unfold": {"conv": "unfold"},
    "operator": {"conv": "operator"},
    "weightwatcher": {"convention": "weightwatcher"},
    "some": {"layers": ["embed", "conv"]},
}


@pytest.fixture
def model(tmp_path):
    return written(tmp_path / "m.safetensors")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def sealed(monkeypatch):
    """Seal the numbers of files: gives a function after which any reading of them fails."""

    def explode(self):
        raise AssertionError("weights were read")

    return lambda: monkeypatch.setattr(Plain, "open", explode)


@pytest.fixture
def count(monkeypatch):
    """Count the bytes that are read of files."""
    read = [0]
    real = LocalFile.open

    def counting(self):
        stream = real(self)
        before = stream.raw

        class Counted(type(before)):
            def readinto(self, buffer):
                n = super().readinto(buffer)
                read[0] += n
                return n

        import io

        stream.close()
        return io.BufferedReader(Counted(self.path, "rb") if False else Counted(str(_path(before)), "rb"))

    def _path(raw):
        return raw.name

    monkeypatch.setattr(LocalFile, "open", counting)
    return read


def table(source, **options):
    return ht.analyze(source, **options).to_json()


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "heavytail.analysis.cache"]
