"""What a file is, by its first bytes; a file's name says nothing that can be trusted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from heavytail.weights.formats import npz
from heavytail.weights.formats.torch import legacy
from heavytail.weights.places.files import File

__all__ = ["foreign", "kind_of", "zip_kind"]

READS = "this version does not read; it reads safetensors, PyTorch, ONNX, Keras, GGUF, TensorFlow Lite and .npz"

_CONTAINERS = ((0, b"GGML", "a GGML file"),)
_MAGICS = ((0, b"GGUF", "gguf"), (0, b"\x89HDF\r\n\x1a\n", "hdf5"), (4, b"TFL3", "tflite"))
_ARCHIVES = (
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (257, b"ustar", "a tar archive"),
)
# Members that only archives of programs have; their reader says which of them it does not read.
_PROGRAMS = (
    {"constants.pkl"},
    {"archive_format", "archive_version"},
    {".data/extern_modules"},
)
_OLD_PROGRAM = "serialized_exported_program.json"
# A pickle begins with its protocol; those before the second have none, and begin with a list, a dict or a global.
_PICKLE = re.compile(rb"\x80[\2-\5]|\([dl]p\d+\n|[\]}]q\0|c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n(p\d+\n|q[\0-\x1f]|[()])")
_TEXTS = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML file"),
    (b"{", "a JSON file"),
    (b"[", "a JSON file"),
)


def kind_of(file: File, head: bytes, size: int) -> str | None:
    """Name the container that begins with the bytes `head`, if it is one that can be opened.

    Returns:
        "zip", "npy", "torch legacy", "safetensors", "gguf", "hdf5", "tflite", "onnx", or None.
    """
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return "zip"
    if head.startswith(npz.MAGIC):
        return "npy"
    if legacy.MAGIC in head[:32]:
        return "torch legacy"
    for offset, magic, kind in _MAGICS:
        if head[offset : offset + len(magic)] == magic:
            return kind
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and (length <= max(size, 1 << 30)):
        return "safetensors"
    # The own reader of a damaged safetensors file says best what is wrong with it.
    if file.name.endswith(".safetensors") and _known(head) is None:
        return "safetensors"
    return "onnx" if _looks_like_onnx(file, head) and _known(head) is None else None


def zip_kind(names: Iterable[str]) -> str | None:
    """Name the container that a zip archive with these members is.

    Returns:
        "torch zip", "torchscript" (or a relative of it), "npz", "keras", or None.
    """
    names = list(names)
    inner = {name.partition("/")[2] for name in names}
    if any(members <= inner for members in _PROGRAMS) or any(name.startswith("code/") for name in inner):
        return "torchscript"
    if _OLD_PROGRAM in names:
        return "torchscript"
    if "data.pkl" in inner:
        return "torch zip"
    if any(name.endswith(".npy") for name in names):
        return "npz"
    if "model.weights.h5" in names:
        return "keras"
    return None


def foreign(file: File, head: bytes) -> str:
    """Say what a file looks like that no reader takes, as the rest of a sentence about it."""
    unknown = f"is not a model file of a known kind (it begins with {head[:8].hex(' ')})"
    return _known(head) or _text(head) or unknown


def _known(head: bytes) -> str | None:
    """Say what a file is where there is no doubt."""
    if not head:
        return "is empty"
    if head.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer, not the model itself; fetch the model with: git lfs pull"
    for places, ending in ((_CONTAINERS, f", which {READS}"), (_ARCHIVES, ", not a model; unpack it first")):
        for offset, magic, what in places:
            if head[offset : offset + len(magic)] == magic:
                return f"is {what}{ending}"
    if _PICKLE.match(head):
        return (
            "is a bare Python pickle, which can run code and is not read; "
            "save the arrays as .npz (numpy.savez) or as safetensors"
        )
    start = head.lstrip().lower()
    found = next((what for magic, what in _TEXTS if start.startswith(magic)), None)
    return f"looks like {found}, not a model" if found else None


def _text(head: bytes) -> str | None:
    # A multi-byte character may be cut at the end of the head.
    text = head.decode("utf-8", "ignore")
    printable = sum(c.isprintable() or c.isspace() for c in text)
    return "looks like a text file, not a model" if printable == len(text) and len(text) > len(head) // 2 else None


def _looks_like_onnx(file: File, head: bytes) -> bool:
    # A protobuf has no magic number; field 1, the version of ONNX, is a small number.
    return (len(head) > 1 and head[0] == 0x08 and 0 < head[1] < 32) or file.name.endswith(".onnx")
