"""Damaged files: whatever bytes are there, the answer is one clear line or tensors that can be read."""

import io
import os
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from weights.cases import opened, save_all

from heavytail.errors import SourceError

# The last two are damaged inside an archive that is sound.
FORMATS = ("safetensors", "zip.pt", "legacy.pt", "npz", "packed.npz", "npy", "inner.pt", "inner.npz")
QUICK = 200
MANY = max(2000, int(os.environ.get("HEAVYTAIL_MUTATIONS", "0")))
MUTATIONS = int(os.environ.get("HEAVYTAIL_MUTATIONS", QUICK))
HUGE = (0, 1 << 31, 1 << 62, (1 << 64) - 1)
# A deflated byte may stand for 1032 bytes; the room is for messages and for objects of any file.
FACTOR, ROOM = 1100, 4_000_000


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    files = {name: path.read_bytes() for name, path in save_all(tmp_path_factory.mktemp("small")).items()}
    with zipfile.ZipFile(io.BytesIO(files["zip.pt"])) as archive:
        files["inner.pt"] = archive.read(next(n for n in archive.namelist() if n.endswith("/data.pkl")))
    return files | {"inner.npz": files["npy"]}


def wrapped(name, data, files):
    """Put a damaged part back into its archive."""
    out = io.BytesIO()
    if name == "inner.npz":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", data)
    elif name == "inner.pt":
        with zipfile.ZipFile(io.BytesIO(files["zip.pt"])) as old, zipfile.ZipFile(out, "w") as archive:
            for member in old.namelist():
                archive.writestr(member, data if member.endswith("/data.pkl") else old.read(member))
    else:
        return data
    return out.getvalue()


def mutated(data, rng):
    """Change a few bytes: flip, set, insert, delete, swap slices, repeat a slice, or cut the end."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        a, b = sorted(int(i) for i in rng.integers(0, max(1, len(data)), 2))
        n = int(rng.integers(1, 17))
        match rng.integers(0, 8):
            case 0:
                data[a : a + 1] = bytes([(data[a] if data else 0) ^ (1 << int(rng.integers(8)))])
            case 1:
                data[a : a + 1] = bytes([int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))])
            case 2:
                data[a:a] = rng.bytes(n)
            case 3:
                del data[a : a + n]
            case 4:
                data[a : a + n], data[b : b + n] = data[b : b + n], data[a : a + n]
            case 5:
                data[b:b] = data[a : a + n]
            case 6:
                data[a : a + 8] = HUGE[int(rng.integers(len(HUGE)))].to_bytes(8, "little")
            case 7:
                del data[b + n :]
    return bytes(data)


def near(data, rng):
    """Mutate where it hurts: in the headers as often as anywhere."""
    if rng.integers(2):
        return mutated(data, rng)
    cut = int(rng.integers(1, 1500))
    return mutated(data[:cut], rng) + data[cut:] if rng.integers(2) else data[:-cut] + mutated(data[-cut:], rng)


def torture(name, files, count, folder):
    """Open and read `count` mutants; gives how many opened."""
    path, fine = folder / f"mutant.{name}", 0
    worst = 0
    for i in range(count):
        mutant = near(files[name], np.random.default_rng([i, zlib.crc32(name.encode())]))
        mutant = wrapped(name, mutant, files)
        path.write_bytes(mutant)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            result = opened(path)
        except BaseException:
            print(f"mutant {i} of {name}")  # noqa: T201  which one to look at
            raise
        worst = max(worst, (tracemalloc.get_traced_memory()[1] - before - ROOM) / max(1, len(mutant)))
        fine += not isinstance(result, SourceError)
    assert worst <= FACTOR
    return fine


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("name", FORMATS)
def test_mutants_are_refused_or_read(name, originals, tmp_path, traced):
    fine = torture(name, originals, MUTATIONS, tmp_path)
    assert 0 < fine < MUTATIONS


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_mutants_are_refused_or_read(name, originals, tmp_path, traced):
    fine = torture(name, originals, MANY, tmp_path)
    print(f"{name}: {MANY} mutants, {fine} were read, {MANY - fine} refused")  # noqa: T201  the result to report
    assert 0 < fine < MANY


@pytest.mark.parametrize("name", FORMATS[:6])
def test_a_file_cut_anywhere_is_refused(name, originals, tmp_path):
    data, path = originals[name], tmp_path / f"cut.{name}"
    header = range(min(700, len(data)))
    tail = range(len(data) - 100, len(data))
    for length in sorted({*header, *tail, *range(0, len(data), 97)}):
        path.write_bytes(data[:length])
        assert isinstance(opened(path), SourceError), length


def test_the_originals_are_read(originals, tmp_path):
    for name, data in originals.items():
        path = tmp_path / f"whole.{name}"
        path.write_bytes(wrapped(name, data, originals))
        assert not isinstance(opened(path), SourceError), name


@pytest.mark.parametrize(
    "name", ["formats/g2p_bf16.safetensors", "formats/g2p_fp16.safetensors", "resnet_cifar10/resnet20-12fca82f.th"]
)
def test_a_real_file_cut_at_every_kilobyte_is_refused(name, models, tmp_path):
    data = (models / name).read_bytes()
    path = tmp_path / ("cut" + (models / name).suffix)
    path.write_bytes(data)
    for length in range(len(data) // 1024 * 1024, -1, -1024):
        os.truncate(path, length)
        assert isinstance(opened(path), SourceError), length


def test_a_larger_archive_cut_at_every_kilobyte_is_refused(tmp_path):
    import torch

    state = {str(i): torch.full((50, 50), float(i)) for i in range(30)}
    torch.save(state, tmp_path / "m.pt")
    np.savez(tmp_path / "m.npz", **{k: v.numpy() for k, v in state.items()})
    for path in (tmp_path / "m.pt", tmp_path / "m.npz"):
        for length in range(path.stat().st_size // 1024 * 1024, -1, -1024):
            os.truncate(path, length)
            assert isinstance(opened(path), SourceError), length
