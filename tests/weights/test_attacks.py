"""Files that try to run code or to exhaust the machine: each must fail with one clear line, and nothing may happen."""

import io
import pickle
import struct
import tracemalloc
import zipfile

import pytest
import torch
from weights.attacks import ATTACKS, BOMBS, FORBIDDEN
from weights.cases import opened

from heavytail.errors import SourceError

NEW = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


def as_zip(path, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
    return path


def as_legacy(path, data):
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    system = pickle.dumps({"little_endian": True}, 2)
    path.write_bytes(magic + pickle.dumps(1001, 2) + system + data + pickle.dumps([], 2))
    return path


def write(path, data, new):
    return as_zip(path, data) if new else as_legacy(path, data)


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A file that an attack would make in the working directory; it must not be there afterwards."""
    monkeypatch.chdir(tmp_path)
    canary = tmp_path / "canary"
    yield canary
    assert not canary.exists(), "code in the file was executed"


def test_the_attacks_do_work_on_an_ordinary_unpickler(canary):
    pickle.loads(ATTACKS["os.system"])
    assert canary.exists()
    canary.unlink()


@NEW
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_and_nothing_is_executed(attack, new, canary, tmp_path):
    error = opened(write(tmp_path / "model.pt", ATTACKS[attack], new))
    assert isinstance(error, SourceError), attack


@NEW
@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_name_is_told(name, new, canary, tmp_path):
    path = write(tmp_path / "model.pt", FORBIDDEN[name], new)
    assert str(opened(path)) == (
        f"{path}: asks for the Python object '{name}', which is not a tensor, number, string or container; "
        "nothing was executed" + ("; save the state dict alone" if name == "__main__.Net" else "")
    )


@NEW
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_takes_neither_memory_nor_time(bomb, new, tmp_path):
    path = write(tmp_path / "model.pt", BOMBS[bomb], new)
    tracemalloc.start()
    error = opened(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(error, SourceError)
    assert peak < 20_000_000


def test_a_deflated_pickle_that_unpacks_to_a_gigabyte_is_refused(tmp_path):
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"]" * 50_000_000)
    assert "at most" in str(opened(path))


def test_a_whole_module_is_refused_by_the_name_of_its_class(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    assert "'torch.nn.modules.linear.Linear'" in str(opened(tmp_path / "m.pt"))


def test_a_bare_pickle_is_refused_and_says_what_to_do(tmp_path):
    for protocol in (2, 3, 4, 5):
        (tmp_path / "m.pkl").write_bytes(pickle.dumps({"a": 1}, protocol))
        text = str(opened(tmp_path / "m.pkl"))
        assert "is a bare Python pickle" in text
        assert "numpy.savez" in text


STORAGE = {"w": torch.arange(6.0).reshape(2, 3)}


def changed(old, new):
    """Change bytes in the pickle of a good file."""
    stream, out = io.BytesIO(), io.BytesIO()
    torch.save(STORAGE, stream)
    with zipfile.ZipFile(stream) as a, zipfile.ZipFile(out, "w") as b:
        for name in a.namelist():
            data = a.read(name)
            if name.endswith("data.pkl"):
                assert old in data
                data = data.replace(old, new, 1)
            b.writestr(name, data)
    return out.getvalue()


SHAPE = b"K\x02K\x03\x86"  # (2, 3)
STRIDE = b"K\x03K\x01\x86"  # (3, 1)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (SHAPE, b"K\x02K\x04\x86", "reaches past the 24 bytes of its storage"),
        (SHAPE, b"K\x02J\xff\xff\xff\xff\x86", "no count"),
        (SHAPE, b"K\x02\x88\x86", "no count"),
        (SHAPE, b"K\x02N\x86", "no count"),
        (SHAPE, b"K\x02\x8a\x09" + b"\xff" * 8 + b"\x00\x86", "no count"),
        (SHAPE, b"]", "2 strides"),
        (STRIDE, b"K\x03J\xff\xff\xff\xff\x86", "no count"),
        (STRIDE, b"K\x7fK\x01\x86", "reaches past the 24 bytes"),
        (b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009", "the storage '9' of tensor 'w' is missing"),
        (b"K\x06t", b"K\x07t", "the storage '0' has 24 bytes; 28 are stated"),
        (b"FloatStorage", b"DoubleStorage", "the storage '0' has 24 bytes; 48 are stated"),
        (b"X\x07\x00\x00\x00storage", b"X\x07\x00\x00\x00sturage", "in a way that torch does not"),
    ],
)
def test_a_lying_description_is_one_clear_line(old, new, expected, tmp_path):
    (tmp_path / "m.pt").write_bytes(changed(old, new))
    error = opened(tmp_path / "m.pt")
    assert isinstance(error, SourceError)
    assert expected in str(error)


def legacy_file(tmp_path, edit):
    import warnings

    path = tmp_path / "m.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(STORAGE, path, _use_new_zipfile_serialization=False)
    path.write_bytes(edit(path.read_bytes()))
    return str(opened(path))


def test_lies_of_a_legacy_file_are_one_clear_line(tmp_path):
    count = struct.pack("<q", 6)
    assert "has 7 numbers; 6 are stated" in legacy_file(tmp_path, lambda d: d.replace(count, struct.pack("<q", 7)))
    assert "may be cut short" in legacy_file(tmp_path, lambda d: d[:-1])
    assert "protocol 1002" in legacy_file(tmp_path, lambda d: d.replace(b"M\xe9\x03.", b"M\xea\x03."))
    assert "reaches past" in legacy_file(tmp_path, lambda d: d.replace(SHAPE, b"K\x03K\x03\x86"))
