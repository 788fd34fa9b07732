import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from weights.cases import SHAPES, opened

from heavytail.errors import SourceError
from heavytail.weights.source import open_source

DTYPES = "? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16 >f4 >i2 >c8".split()  # noqa: SIM905
SAVE = pytest.mark.parametrize("save", [np.savez, np.savez_compressed])


@SAVE
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_shape_and_order_comes_back(dtype, save, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"a{i}": np.asarray(rng.integers(0, 4, shape)).astype(dtype) for i, shape in enumerate(SHAPES)}
    arrays |= {f"f{name}": np.asfortranarray(array) for name, array in arrays.items()}
    save(tmp_path / "m.npz", **arrays)
    source = open_source(tmp_path / "m.npz")
    assert [t.name for t in source.tensors] == list(arrays)
    for tensor in source.tensors:
        expected = arrays[tensor.name]
        assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype.name)
        for rows in (1, 3, 100):
            blocks = list(tensor.blocks(rows))
            assert all(block.dtype == expected.dtype.newbyteorder("=") for block in blocks)
            joined = np.concatenate(blocks) if expected.ndim else blocks[0]
            assert np.array_equal(joined, expected)


@given(array=hnp.arrays(hnp.floating_dtypes() | hnp.integer_dtypes(), hnp.array_shapes(min_dims=0, min_side=0)))
def test_any_array_comes_back_from_npy(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("n") / "name.npy"
    np.save(path, array)
    source = open_source(path)
    assert (source.format, source.tensors[0].name) == ("npy", "name")
    assert np.array_equal(source.tensors[0].read(), np.load(path), equal_nan=True)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_only_an_array_whose_rows_interleave_has_to_be_read_as_a_whole(save, tmp_path):
    wide, empty = np.ones((4, 3)), np.ones((4, 0, 3))
    arrays = {"c": wide, "f": np.asfortranarray(wide), "one": np.asfortranarray(wide[:1]), "line": wide[0]}
    save(tmp_path / "m.npz", scalar=np.float32(1), empty=np.asfortranarray(empty), **arrays)
    assert [tensor.name for tensor in open_source(tmp_path / "m.npz").tensors if tensor.whole] == ["f"]


def test_what_is_no_number_has_a_problem(tmp_path):
    arrays = {"o": np.array([None, {}]), "s": np.array(["a"]), "r": np.zeros(2, "i4,f4"), "d": np.zeros(2, "M8[s]")}
    np.savez(tmp_path / "m.npz", **arrays, fine=np.zeros(3))
    tensors = {t.name: t for t in open_source(tmp_path / "m.npz").tensors}
    assert tensors.pop("fine").problem is None
    assert set(tensors) == set(arrays)
    assert all("is no number" in t.problem for t in tensors.values())


def test_other_members_are_left_out_and_said_so(tmp_path):
    np.savez(tmp_path / "m.npz", a=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "m.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert open_source(tmp_path / "m.npz").notes == ("left out: 1 zip members that are no arrays",)


def npy(descr="<f4", order="False", shape="(2,)", data=bytes(8), version=1, length=None):
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    size = (len(text) if length is None else length).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_header_version_is_read(version, tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(version=version))
    assert open_source(tmp_path / "a.npy").tensors[0].read().tolist() == [0, 0]


def test_a_header_of_python_2_is_read(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(shape="(2L,)"))
    assert open_source(tmp_path / "a.npy").tensors[0].shape == (2,)


@pytest.mark.parametrize(
    ("lie", "expected"),
    [
        ({"shape": "(3,)"}, "has 8 bytes; <f4 of shape (3,) needs 12"),
        ({"shape": "(-2,)"}, "is no tuple of sizes"),
        ({"shape": "(True, 2)"}, "is no tuple of sizes"),
        ({"shape": "[2]"}, "is no tuple of sizes"),
        ({"shape": "(__import__('os').system('true'),)"}, "damaged"),
        ({"shape": "(" * 3000}, "damaged"),
        ({"shape": "(2,), 'x': 1"}, "the header is not descr, fortran_order and shape"),
        ({"shape": "(1 << 62, 1 << 62)"}, "damaged"),
        ({"shape": "(4611686018427387904, 4611686018427387904)"}, "has 8 bytes"),
        ({"version": 9}, "does not begin as an array"),
        ({"length": 60000}, "fewer than its header"),
        ({"version": 2, "length": 1 << 31}, "at most 65536 are expected"),
        ({"data": bytes(9)}, "has 9 bytes"),
        ({"descr": "\\x41"}, "has a backslash"),
    ],
)
def test_a_lying_header_is_one_clear_line(lie, expected, tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(npy(**lie))
    error = opened(path)
    assert isinstance(error, SourceError)
    assert expected in str(error)


def zipped(path, data, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", data)
    return path


def patch(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def test_a_zip_bomb_is_refused(tmp_path):
    # A megabyte of zeros is honest at 1:1030; the directory then claims a thousand times as much.
    path = zipped(tmp_path / "m.npz", npy(shape="(262144,)", data=bytes(1 << 20)))
    size = len(npy(shape="(262144,)", data=bytes(1 << 20)))
    patch(path, size.to_bytes(4, "little"), (size * 1000).to_bytes(4, "little"))
    assert "more than" in str(opened(path))


def test_a_declared_size_that_the_shape_does_not_need_is_refused(tmp_path):
    path = zipped(tmp_path / "m.npz", npy(data=bytes(5000)))
    assert "has 5000 bytes; <f4 of shape (2,) needs 8" in str(opened(path))


def test_a_stream_that_ends_early_is_refused(tmp_path):
    data = npy(shape="(1000,)", data=np.random.default_rng(0).bytes(4000))
    path = zipped(tmp_path / "m.npz", data)
    short = npy(shape="(1250,)", data=np.random.default_rng(0).bytes(5000))
    patch(path, len(data).to_bytes(4, "little"), len(short).to_bytes(4, "little"))
    assert isinstance(opened(path), SourceError)


def test_a_wrong_checksum_is_noticed(tmp_path):
    data = npy(shape="(1000,)", data=np.random.default_rng(0).bytes(4000))
    path = zipped(tmp_path / "m.npz", data)
    with zipfile.ZipFile(path) as archive:
        crc = archive.infolist()[0].CRC
    patch(path, crc.to_bytes(4, "little"), (crc ^ 1).to_bytes(4, "little"))
    assert "checksum" in str(opened(path))


def test_members_that_overlap_are_refused(tmp_path):
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy())
        archive.writestr("b.npy", npy())
        archive.infolist()[1].header_offset = 0
    assert "overlap" in str(opened(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(method, tmp_path):
    assert "not by deflate" in str(opened(zipped(tmp_path / "m.npz", npy(), method)))


def test_an_encrypted_member_is_refused(tmp_path):
    path = zipped(tmp_path / "m.npz", npy())
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in str(opened(path))


def test_a_changed_number_in_a_stored_member_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    W = np.random.default_rng(0).standard_normal((50, 40))
    np.savez(path, w=W, v=W + 1)
    data = bytearray(path.read_bytes())
    at = data.find(W.tobytes()[800:816])
    data[at] ^= 1
    path.write_bytes(data)
    tensors = {t.name: t for t in open_source(path).tensors}
    with pytest.raises(SourceError, match="checksum"):
        list(tensors["w"].blocks(7))
    np.testing.assert_array_equal(np.concatenate(list(tensors["v"].blocks(7))), W + 1)
