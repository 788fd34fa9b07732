"""The arrays of an HDF5 file: where their numbers stand, found without following a link to anywhere else.

An HDF5 file may point to other files in four ways: external links, soft links that go through one, virtual datasets and
external storage. A checkpoint from elsewhere could so have any file of this machine read. None is followed.
The format: "HDF5 File Format Specification", The HDF Group, version 3.0.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from heavytail.errors import SourceError
from heavytail.weights.faults import one_line, quoted, reading
from heavytail.weights.formats.keras.heap import GuardedStream, check_widths
from heavytail.weights.formats.keras.slices import Inflated
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Plain, Strided, contiguous, shape_problem, stored, swapped, unreadable
from heavytail.weights.tensor import Array, Hint, Tensor, numpy_dtype

__all__ = ["Contents", "Dataset", "read_contents"]

_SUPERBLOCK = 24
_LONGEST_PATH = 4096
_MOST_ATTRIBUTE = 1 << 26
# Deflate cannot pack more than 1032 bytes into one; what claims more stands for numbers that are not in the file.
_BEST_RATIO = 1032
_COMPRESSIONS = (1, 4, 5, 6, 32000)  # deflate, szip, nbit, scale-offset, LZF; others would load code of a plug-in
_OTHER_FILTERS = (2, 3)  # shuffle, Fletcher-32


@dataclass(frozen=True, slots=True)
class Dataset:
    """An array of an HDF5 file.

    Attributes:
        path: where it stands in the file, without a leading slash.
        shape: sizes of the axes.
        dtype: name of its type.
        start: offset of its first byte, where its bytes stand in the file as they are; else None.
        order: order of the bytes of a number, "little" or "big".
        chunk: rows of a chunk, the unit that is read at once.
        key: equal for two names of the same array.
        problem: why it cannot be read; None if it can.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    start: int | None = None
    order: str = "little"
    chunk: int = 1
    key: Hashable | None = None
    problem: str | None = None

    def tensor(self, file: File, name: str, place: Strided | None = None, hint: Hint | None = None) -> Tensor:
        """Describe it as a tensor.

        Args:
            file: the file it stands in.
            name: the tensor's name.
            place: how its numbers, in the file's order, are to be seen; None for as they are.
            hint: what is known of it.
        """
        place = place or Strided(self.shape, contiguous(self.shape))
        problem = self.problem or shape_problem(self.shape, numpy_dtype(self.dtype).itemsize)
        if problem is not None:
            return unreadable(name, place.shape, self.dtype, file, problem, hint)
        if self.start is None:
            blocks = partial(_blocks, file, self, place)
            whole = isinstance(file, Inflated) or not _streams(self, place)
            return Tensor(name, place.shape, self.dtype, blocks, str(file), self.key, hint=hint, whole=whole)
        region = Plain(file, self.start, file.size - self.start)
        swap = numpy_dtype(self.dtype).itemsize > 1 and swapped(self.order)
        place = Strided(place.shape, place.stride, 0, swap)
        plain = stored(name, self.dtype, region, place, file, self.key)
        return replace(plain, hint=hint, whole=plain.whole or isinstance(file, Inflated))


@dataclass(frozen=True, slots=True)
class Contents:
    """What an HDF5 file holds.

    Attributes:
        datasets: its arrays of numbers by their paths, in the order of the file.
        attributes: the attributes that were asked for, by the path of their object and their name.
        links: paths of links to other places, which were not followed.
        others: paths of datasets that are no arrays of numbers.
    """

    datasets: dict[str, Dataset]
    attributes: dict[tuple[str, str], Any]
    links: list[str]
    others: list[str]


@contextmanager
def _opened(file: File, guard: bool = False) -> Iterator[Any]:
    """Open an HDF5 file for reading; with a guard where its structure, not its numbers, are to be read.

    Raises:
        SourceError: it is damaged, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        needs = "is an HDF5 file; reading it needs the h5py package: pip install 'heavytail[keras]'"
        raise SourceError(file, needs) from error
    with reading(file, "the HDF5 structure"), file.open() as stream:
        check_widths(file, stream.read(_SUPERBLOCK))
        guarded = GuardedStream(file, stream) if guard else stream
        try:
            with h5py.File(guarded, "r") as root:
                yield root
        except (RuntimeError, OSError) as error:  # h5py raises RuntimeError where HDF5 fails without a class of its own
            raise SourceError(file, f"damaged, HDF5 says: {one_line(error)}") from error


def read_contents(file: File, wanted: Callable[[str, str], bool]) -> Contents:
    """Find the arrays of an HDF5 file.

    Args:
        file: the file.
        wanted: given the path of a group and the name of an attribute of it, says whether its value is needed.

    Raises:
        SourceError: the file is damaged, or h5py is not installed.
    """
    found = Contents({}, {}, [], [])
    with _opened(file, guard=True) as root:
        import h5py

        seen = set()
        groups = [("", root)]
        while groups:
            path, group = groups.pop()
            address = _address(group)
            if address in seen:  # a group can be its own ancestor
                continue
            seen.add(address)
            for name in group.attrs:
                if wanted(path, name):
                    found.attributes[path, name] = _attribute(file, group, name)
            inner = list(_children(file, group, path, found))
            groups.extend((at, child) for at, child in reversed(inner) if isinstance(child, h5py.Group))
            for at, child in inner:
                if isinstance(child, h5py.Dataset):
                    _add(file, at, child, found)
    return found


def _children(file: File, group: Any, path: str, found: Contents) -> Iterator[tuple[str, Any]]:
    """Give the objects that stand in a group itself; links to elsewhere are noted and not followed."""
    import h5py

    for name in group:
        # A name with a slash would make the library walk on through other links, one to another file among them.
        if "/" in name or name in ("", ".", ".."):
            raise SourceError(file, f"damaged, an HDF5 link has the name {quoted(name)}")
        at = f"{path}/{name}" if path else name
        if len(at) > _LONGEST_PATH:
            raise SourceError(file, f"nests its HDF5 groups deeper than can be read: {quoted(at)}")
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield at, group[name]
        else:
            found.links.append(at)


def _address(thing: Any) -> int:
    from h5py import h5o

    return int(h5o.get_info(thing.id).addr)


def _attribute(file: File, group: Any, name: str) -> Any:
    """Read an attribute that is text or a list of texts; None if it is something else."""
    from h5py import h5t

    attribute = group.attrs.get_id(name)
    kind = attribute.get_type()
    if not isinstance(kind, h5t.TypeStringID):
        return None
    size = attribute.get_space().get_simple_extent_npoints() * kind.get_size()
    if size > min(_MOST_ATTRIBUTE, file.size):
        raise SourceError(file, f"its attribute {quoted(name)} states {size} bytes")
    return group.attrs[name]


def _add(file: File, path: str, data: Any, found: Contents) -> None:
    """Describe one dataset. A virtual one is not asked for its shape: that can stand in the files it is made of."""
    from h5py import h5d

    created = data.id.get_create_plist()
    layout = created.get_layout()
    if layout == h5d.VIRTUAL:
        problem = "it is a virtual dataset, whose numbers stand in other files"
        found.datasets[path] = Dataset(path, _virtual_shape(created), "uint8", problem=problem)
        return
    shape, dtype = data.shape, _dtype(data)
    if shape is None or dtype is None:
        found.others.append(path)
        return
    if dtype.kind == "V" and dtype.name != "bfloat16":
        problem = f"its type, {dtype.itemsize} opaque bytes, cannot be read as numbers"
        found.datasets[path] = Dataset(path, shape, "uint8", problem=problem)
        return
    width, size = int(data.id.get_type().get_size()), int(data.id.get_storage_size())
    plain = layout == h5d.CONTIGUOUS and size == prod(shape) * width and _as_it_is(data, dtype)
    chunk = data.chunks or (1,)
    found.datasets[path] = Dataset(
        path,
        shape,
        dtype.name,
        start=data.id.get_offset() if plain else None,
        order="big" if dtype.str[0] == ">" else "little",
        chunk=max(1, chunk[0]),
        key=(str(file), "hdf5", _address(data)),
        problem=_problem(created, prod(shape) * width, min(size, file.size), prod(chunk) * width),
    )


def _dtype(data: Any) -> np.dtype[Any] | None:
    """Give the type of the numbers of a dataset; None if it holds something else."""
    dtype: np.dtype[Any] = data.dtype
    if dtype.kind in "biufc":
        return dtype
    # Keras keeps bfloat16 as two opaque bytes, and says so.
    if dtype == np.dtype("V2") and data.attrs.get("dtype") in ("bfloat16", b"bfloat16"):
        return numpy_dtype("bfloat16")
    return dtype if dtype.kind == "V" and dtype.names is None and dtype.subdtype is None else None


def _as_it_is(data: Any, dtype: np.dtype[Any]) -> bool:
    """Say whether the bytes in the file are those of numpy's type: HDF5 knows floats of any widths."""
    from h5py import h5t

    return dtype.name == "bfloat16" or bool(data.id.get_type() == h5t.py_create(dtype, logical=dtype.kind == "b"))


def _virtual_shape(created: Any) -> tuple[int, ...]:
    if not created.get_virtual_count():
        return ()
    sides = created.get_virtual_vspace(0).get_simple_extent_dims()
    return tuple(int(n) if 0 <= n < 1 << 63 else 0 for n in sides)


def _problem(created: Any, nbytes: int, size: int, chunk: int) -> str | None:
    """Say why the numbers of a dataset cannot be read; None if they can.

    Args:
        created: how the dataset was created.
        nbytes: bytes of its numbers.
        size: bytes that are stored for them.
        chunk: bytes of a chunk once unpacked.
    """
    if created.get_external_count():
        return "its numbers stand in other files"
    filters = [int(created.get_filter(i)[0]) for i in range(created.get_nfilters())]
    for code in filters:
        if code not in _COMPRESSIONS and code not in _OTHER_FILTERS:
            return f"its compression, HDF5 filter {code}, is none that comes with h5py"
    if sum(code in _COMPRESSIONS for code in filters) > 1:
        return "it is compressed more than once"
    needed = max(nbytes, chunk) if filters and nbytes else nbytes
    if needed > size * (_BEST_RATIO if filters else 1):
        return f"it needs {needed} bytes and {size} are stored"
    return None


def _blocks(file: File, data: Dataset, place: Strided, rows: int) -> Iterator[Array]:
    """Read a dataset that HDF5 itself has to read: by rows where their order is that of the file, else as a whole."""
    rows, dtype = max(1, rows), numpy_dtype(data.dtype)
    shape = place.shape
    with _opened(file) as root:
        source = root[data.path]
        if source.shape != data.shape:
            raise SourceError(file, f"array {quoted(data.path)} has another shape than before; did the file change?")
        if not shape:
            yield _numbers(source, (), dtype).reshape(())
            return
        streams = _streams(data, place)
        group = max(rows // data.chunk, 1) * data.chunk if streams else shape[0]
        for first in range(0, max(shape[0], 1), max(group, 1)):
            if streams:
                numbers = _numbers(source, slice(first, first + group), dtype)
                block = numbers.reshape(-1, *shape[1:]) if numbers.size else np.empty((len(numbers), *shape[1:]), dtype)
            else:
                strides = tuple(dtype.itemsize * s for s in place.stride)
                block = np.ndarray(shape, dtype, _numbers(source, (), dtype), strides=strides)
            for row in range(0, max(len(block), 1), rows):
                yield block[row : row + rows]


def _streams(data: Dataset, place: Strided) -> bool:
    """Say whether rows stand in the file's order, so that some can be read without the others."""
    return place.shape[:1] == data.shape[:1] and place.stride == contiguous(place.shape)


def _numbers(source: Any, where: Any, dtype: np.dtype[Any]) -> Array:
    """Read numbers into this machine's order of bytes."""
    found = np.asarray(source[where])
    return np.ascontiguousarray(found.view(dtype) if found.dtype.kind == "V" else found.astype(dtype, copy=False))
