"""Files behind URLs, read by ranges: the header first, then only the tensors that are asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from heavytail.errors import SourceError, visible
from heavytail.weights.places import fetch, hub
from heavytail.weights.places.fetch import MissingError, PageError, redacted
from heavytail.weights.places.files import File, LocalFile, LocalFolder

__all__ = ["RemoteFile", "RemoteFolder", "open_url"]

_BLOCK = 1 << 19  # what a small read asks for, so that a header takes few requests
_KEPT = 32  # blocks in memory
_PIECE = 1 << 24  # the most that one request asks for, so that a retry repeats little
_HTTP = ("http", "https")
_S3 = ("s3://", "s3a://")
# What the file systems call the state of a file, the surest first.
_MARKS = ("ETag", "etag", "md5Hash", "content_md5", "sha", "mtime", "LastModified", "last_modified", "created")
# What a folder is asked for where it cannot be listed, in order.
_WELL_KNOWN = (
    "model.safetensors.index.json",
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "adapter_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "adapter_model.bin",
    "model.onnx",
)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file behind a URL; `str` of it is the URL without what may be secret in it.

    Attributes:
        url: its URL as the user gave it, credentials included.
        size: number of bytes.
        mark: its ETag, its time of change or what else its place calls its state; empty if nothing is known.
        commit: of a file on a hub, the commit that is read, so that a later one changes nothing.
    """

    url: str = field(repr=False)
    size: int
    mark: str = ""
    commit: str = ""

    def __str__(self) -> str:  # noqa: D105
        return redacted(self.url)

    @property
    def name(self) -> str:
        """Last part of its path."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2]) if _web(self.url) else self.url.rpartition("/")[2]

    @property
    def stamp(self) -> str:
        """Its mark and its size; empty if no mark is known."""
        return f"{self.mark}:{self.size}" if self.mark else ""

    def open(self) -> BinaryIO:
        """Open for reading.

        Raises:
            SourceError: it is not the file that was described any more, where that is not noticed with each range.
        """
        if not (_web(self.url) or self.commit or self.url.startswith(_S3)):
            now = _described(self.url, fresh=True)
            if not isinstance(now, RemoteFile) or (now.size, now.mark) != (self.size, self.mark):
                raise SourceError(self, "changed since it was described")
        return io.BufferedReader(_Stream(self))

    def beside(self, name: str) -> File | None:
        """Give the file of that name in the same folder; None if there is none."""
        try:
            return _file(_beside(self.url, name), self.commit)
        except MissingError:
            return None


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder behind a URL; `str` of it is the URL without what may be secret in it.

    Attributes:
        url: its URL as the user gave it, credentials included.
        found: names of its files.
        commit: of a folder on a hub, the commit that is read.
    """

    url: str = field(repr=False)
    found: tuple[str, ...]
    commit: str = ""

    def __str__(self) -> str:  # noqa: D105
        return redacted(self.url)

    def names(self) -> list[str]:
        """List the names of its files."""
        return list(self.found)

    def file(self, name: str) -> File:
        """Give one of its files.

        Raises:
            SourceError: it is gone, or cannot be read by ranges.
        """
        return _file(_inside(self.url, name), self.commit)


def open_url(url: str) -> LocalFile | LocalFolder | RemoteFile | RemoteFolder:
    """Find the file or the folder behind a URL; of a file only its size and its state are asked for.

    Args:
        url: a URL that fsspec knows: https://, s3://, gs://, file:// and others, with credentials from the
            environment as its protocol has them; or hf://organisation/model[@revision][/file].

    Raises:
        SourceError: there is nothing, access is refused, it cannot be read by ranges, or a package is missing.
    """
    try:
        valid = url.isprintable() and bool(urlsplit(url).netloc or not _web(url))
    except ValueError:
        valid = False
    if not valid:
        raise SourceError(visible(redacted(url)), "is no valid address")
    if _web(url):
        return _open_web(url)
    if url.partition("://")[0].lower() == "hf":
        return _open_hub(url)
    return _described(url, fresh=True)


def _described(url: str, fresh: bool = False) -> LocalFile | LocalFolder | RemoteFile | RemoteFolder:
    """Ask a place for the size and the state of what is behind a URL.

    Args:
        url: the URL.
        fresh: whether what was listed before is asked for again.

    Raises:
        MissingError: there is nothing.
        SourceError: it cannot be read.
    """
    if _web(url):
        return _asked(url)
    fs, path = fetch.filesystem(url)

    def look() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        try:
            if fresh:
                fs.invalidate_cache()
            info = fs.info(path)
            return info, fs.ls(path, detail=True) if info["type"] == "directory" else []
        except Exception as error:
            raise fetch.blamed(redacted(url), error) from None

    # The file systems ask again themselves, so a place that cannot be reached takes long enough.
    info, entries = fetch.patiently(redacted(url), "its description", look, tries=2)
    if fetch.local(fs):
        return LocalFolder(Path(path)) if info["type"] == "directory" else LocalFile(Path(path))
    if info["type"] == "directory":
        names = (entry["name"].rpartition("/")[2] for entry in entries if entry["type"] != "directory")
        return RemoteFolder(url, tuple(filter(None, names)))
    size = info.get("size")
    if not isinstance(size, int):
        raise SourceError(redacted(url), "its place does not say how long it is; download it first")
    return RemoteFile(url, size, next((str(info[key]) for key in _MARKS if info.get(key)), ""))


def _web(url: str) -> bool:
    return url.partition("://")[0].lower() in _HTTP


def _beside(url: str, name: str) -> str:
    """Give the URL of a file in the same folder; a query is kept, for it may hold the right to read the folder."""
    if not _web(url):
        return f"{url.rpartition('/')[0]}/{name}"
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rpartition('/')[0]}/{quote(name)}", fragment="").geturl()


def _inside(url: str, name: str) -> str:
    """Give the URL of a file in a folder."""
    if not _web(url):
        return f"{url.rstrip('/')}/{name}"
    parts = urlsplit(url)
    return _beside(parts._replace(path=f"{parts.path.rstrip('/')}/").geturl(), name)


class _Stream(io.RawIOBase):
    """The bytes of a file: small reads come from blocks that are kept, large ones are asked for as they are."""

    def __init__(self, file: RemoteFile) -> None:
        self.file, self.position = file, 0
        self._last = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.file.size}[whence]
        if origin + offset < 0:
            raise ValueError(f"a position of {origin + offset} bytes is before the file")
        self.position = origin + offset
        return self.position

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self.file.size - self.position))
        if not count:
            return 0
        if count < _BLOCK:
            index, offset = divmod(self.position, _BLOCK)
            data = memoryview(self._block(index))[offset : offset + count]
        else:
            data = memoryview(_fetched(self.file, self.position, self.position + min(count, _PIECE)))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def _block(self, index: int) -> bytes:
        """Give a block; without a mark one is kept for this stream alone, for another one it may be old."""
        if self.file.mark:
            return _block(self.file, index)
        if self._last[0] != index:
            self._last = index, _block.__wrapped__(self.file, index)
        return self._last[1]


@lru_cache(maxsize=_KEPT)
def _block(file: RemoteFile, index: int) -> bytes:
    return bytes(_fetched(file, index * _BLOCK, min((index + 1) * _BLOCK, file.size)))


def _fetched(file: RemoteFile, start: int, stop: int) -> bytearray:
    """Read a range; where an answer is cut, the next one continues."""
    got = bytearray()
    fetch.patiently(file, f"bytes {start}-{stop - 1}", partial(_continue, file, start, stop, got))
    return got


def _continue(file: RemoteFile, start: int, stop: int, got: bytearray) -> None:
    first = start + len(got)
    if first == stop:
        return
    if _web(file.url) or file.commit:
        url, headers = _address(file)
        answer = fetch.http_range(file, url, first, stop, got, headers)
        # The files of a commit never change, and a hub may send the reader to servers with ETags of their own.
        now = f"{file.size} bytes became {answer.size}, or its ETag another"
        if answer.size != file.size or (answer.mark != file.mark and not file.commit):
            raise SourceError(file, f"changed while it was being read: {now}")
    elif file.url.startswith(_S3):
        got += fetch.s3_range(file, file.url, first, stop, file.mark)
    else:
        got += fetch.listed_range(file, file.url, first, stop)


def _address(file: RemoteFile) -> tuple[str, Mapping[str, str]]:
    if file.commit:
        return hub.address(file.url, file.commit)
    # A weak ETag ("W/...") never matches.
    return file.url, {"If-Match": file.mark} if file.mark.startswith('"') else {}


def _asked(url: str) -> RemoteFile:
    """Describe a web address by asking for its first byte: a signed one may refuse HEAD, and HEAD proves no ranges."""
    where = redacted(url)
    answer = fetch.patiently(where, "the first byte", lambda: fetch.http_range(where, url, 0, 1, bytearray()))
    return RemoteFile(url, answer.size, answer.mark)


def _open_web(url: str) -> RemoteFile | RemoteFolder:
    looked = ", ".join(_WELL_KNOWN)
    absent = SourceError(redacted(url), f"a folder on the web cannot be listed, and this one holds none of {looked}")
    path = urlsplit(url).path
    if not path.endswith("/"):
        try:
            return _asked(url)
        except (MissingError, PageError) as error:
            if "." in path.rpartition("/")[2]:
                raise
            absent = error
    for name in _WELL_KNOWN:
        try:
            _asked(_inside(url, name))
        except (MissingError, PageError):
            continue
        return RemoteFolder(url, (name,))
    raise absent


def _open_hub(url: str) -> RemoteFile | RemoteFolder:
    commit = hub.commit(url)
    try:
        return _pinned(url, commit)
    except MissingError:
        names = hub.listing(url, commit)
        if not names:
            raise
        return RemoteFolder(url, tuple(names), commit)


def _file(url: str, commit: str) -> RemoteFile | LocalFile:
    """Describe what is known to be no folder.

    Raises:
        MissingError: there is nothing, or a folder.
    """
    found = _pinned(url, commit) if commit else _described(url)
    if isinstance(found, RemoteFile | LocalFile):
        return found
    raise MissingError(redacted(url), "is a folder")


def _pinned(url: str, commit: str) -> RemoteFile:
    return RemoteFile(url, *hub.entry(url, commit), commit)
