"""One byte range of a file behind a URL: asked for, checked against what was asked, and asked again where it was cut.

Partial responses and their conditions follow RFC 9110 (HTTP Semantics, 2022), sections 13 to 15.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeVar

from heavytail.errors import SourceError
from heavytail.weights.faults import one_line

__all__ = [
    "Answer",
    "MissingError",
    "PageError",
    "PassingError",
    "blamed",
    "filesystem",
    "http_range",
    "http_text",
    "listed_range",
    "local",
    "missing",
    "patiently",
    "redacted",
    "s3_range",
]

T = TypeVar("T")

PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds between the tries
SILENCE = 30.0  # seconds without a byte
LONGEST = 300.0  # seconds for one answer; the largest is a piece of 16 MB
_MOST_TEXT = 1 << 26
# By scheme: the package that reads it, and our extra that installs it.
_EXTRAS = {
    **dict.fromkeys(("http", "https"), ("aiohttp", "http")),
    **dict.fromkeys(("s3", "s3a"), ("s3fs", "s3")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "gs")),
    "hf": ("huggingface_hub", "hub"),
}
_NOT_NOW = (408, 425, 429)
_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII)


class MissingError(SourceError):
    """There is no file of this name."""


class PageError(SourceError):
    """There is a page for people, not a file."""


class PassingError(Exception):
    """A failure that may be gone when the same is asked again; its text is a clause."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says of the file with each range.

    Attributes:
        size: bytes of the whole file.
        mark: its ETag, else the time of its last change; empty if the server gives neither.
    """

    size: int
    mark: str


def redacted(url: str) -> str:
    """Give a URL without what may be secret in it: the user and password, and the query of a web address.

    Example:
        >>> redacted("https://me:secret@host/model.bin?Signature=abc")
        'https://host/model.bin?...'
    """
    url = re.sub(r"://[^/?#]*@", "://", url)
    return re.sub(r"(https?://[^?#]*)([?#])(?:(?!::).)*", r"\1\2...", url, flags=re.IGNORECASE | re.DOTALL)


def patiently(where: object, what: str, attempt: Callable[[], T], tries: int = len(PAUSES) + 1) -> T:
    """Call `attempt` until it gives an answer, with growing pauses between a few tries.

    Args:
        where: the file or folder, for messages.
        what: what is asked for, for messages.
        attempt: the call; a `PassingError` of it leads to the next try.
        tries: how often it is called at most.

    Raises:
        SourceError: the last try failed as well.
    """
    for pause in PAUSES[: tries - 1]:
        try:
            return attempt()
        except PassingError:
            time.sleep(pause)
    try:
        return attempt()
    except PassingError as trouble:
        raise SourceError(where, f"{what} could not be read in {tries} tries: {trouble}") from None


def filesystem(url: str) -> tuple[Any, str]:
    """Give the fsspec filesystem of a URL and the path in it; one is made for a process and kept.

    Raises:
        SourceError: the protocol is unknown, or what it needs is not installed.
    """
    return _filesystem(os.getpid(), url)  # a forked process must not use the connections of its parent


@lru_cache(maxsize=256)
def _filesystem(process: int, url: str) -> tuple[Any, str]:
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise missing(url, error) from None
    except Exception as error:
        raise SourceError(redacted(url), f"cannot be opened: {_said(error)}") from None
    return fs, path


def local(fs: Any) -> bool:
    """Say whether a filesystem is the one of this machine."""
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(fs, LocalFileSystem)


@cache  # never dropped: to close the inherited connections in a fork would break those of its parent
def _web(process: int) -> Any:
    import fsspec

    # trust_env: proxies as the environment states them.
    return fsspec.filesystem("http", skip_instance_cache=True, client_kwargs={"trust_env": True})


def missing(url: str, error: ImportError) -> SourceError:
    """Say what to install for a URL."""
    scheme = url.partition("://")[0].lower()
    if scheme in _EXTRAS:
        package, extra = _EXTRAS[scheme]
        remedy = f"reading {scheme}:// needs the {package} package: pip install 'heavytail[{extra}]'"
    else:
        remedy = f"reading {scheme}:// needs more packages: {_said(error)}"
    return SourceError(redacted(url), remedy)


def _said(error: BaseException) -> str:
    """Give an error's text as one line without secrets."""
    text = re.sub(r"[a-z0-9+]+://\S+", lambda match: redacted(match[0]), str(error), flags=re.IGNORECASE)
    return one_line(text) or type(error).__name__


def http_range(
    where: object, url: str, start: int, stop: int, got: bytearray, headers: Mapping[str, str] | None = None
) -> Answer:
    """Read the bytes from `start` to `stop` of a web address.

    Args:
        where: the file, for messages.
        url: its address, with credentials.
        start: offset of the first byte.
        stop: offset after the last byte, more than `start`.
        got: what is read is added here, also where the answer is cut.
        headers: more headers of the request.

    Raises:
        MissingError: there is no such file.
        PageError: there is a web page.
        PassingError: the connection failed, the server was busy, or it sent less than it stated.
        SourceError: the server refuses, sends no ranges, or sends another range.
    """
    answer: Answer = _on_the_web(url, _get, where, url, start, stop, got, dict(headers or {}))
    return answer


def http_text(where: object, url: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], str]:
    """Read a short text from the web; gives the status of the answer, its headers and the text.

    Raises:
        PassingError: the connection failed, or the server was busy.
        SourceError: the text is very long, or the address is none.
    """
    answer: tuple[int, Mapping[str, str], str] = _on_the_web(url, _text, where, url, dict(headers))
    return answer


def _on_the_web(url: str, ask: Callable[..., Any], *args: object) -> Any:
    try:
        import aiohttp  # noqa: F401
        from fsspec.asyn import sync

        fs = _web(os.getpid())
    except ImportError as error:
        raise missing(url, error) from None
    return sync(fs.loop, ask, fs, *args)


@asynccontextmanager
async def _response(fs: Any, where: object, url: str, headers: Mapping[str, str]) -> AsyncIterator[Any]:
    """Ask for a web address; what fails until the context ends is told as an error of ours."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=LONGEST, sock_connect=SILENCE, sock_read=SILENCE)
    try:
        session = await fs.set_session()
        async with session.get(fs.encode_url(url), headers=headers, timeout=timeout) as response:
            try:
                yield response
            except BaseException:
                response.close()  # what is still to come is not read
                raise
    except aiohttp.TooManyRedirects:
        raise SourceError(where, "is redirected in circles") from None
    except ValueError as error:  # an address, also of a redirect, that is none
        raise SourceError(where, f"is no valid address ({type(error).__name__})") from None
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
        raise SourceError(where, f"no secure connection: {_said(error)}") from None
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise PassingError(_trouble(error)) from None


async def _get(
    fs: Any, where: object, url: str, start: int, stop: int, got: bytearray, headers: Mapping[str, str]
) -> Answer:
    asked = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity", **headers}
    end = len(got) + stop - start
    async with _response(fs, where, url, asked) as response:
        answer = _checked(where, response, start, stop)
        if not answer.size:
            return answer
        async for piece in response.content.iter_any():
            got += piece
            if len(got) > end:
                raise SourceError(where, f"its server sent more than bytes {start}-{stop - 1}")
    if len(got) < end:
        raise PassingError(f"the server stopped {end - len(got)} bytes early")
    return answer


async def _text(fs: Any, where: object, url: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], str]:
    async with _response(fs, where, url, headers) as response:
        if response.status in _NOT_NOW or response.status >= 500:
            raise PassingError(f"the server answers HTTP {response.status}")
        text = bytearray()
        async for piece in response.content.iter_any():
            text += piece
            if len(text) > _MOST_TEXT:
                raise SourceError(where, f"its server answers with more than {_MOST_TEXT} bytes")
        return response.status, response.headers, text.decode("utf-8", "replace")


def _trouble(error: BaseException) -> str:
    import aiohttp

    if isinstance(error, TimeoutError):
        return f"no answer in time (waited {SILENCE:g} s for a byte, {LONGEST:g} s for all)"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host} cannot be reached ({_cause(error.os_error)})"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | ConnectionError):
        return "the connection was cut"
    return _said(error)


def _cause(error: OSError) -> str:
    # asyncio writes addresses into its texts; a failed look-up of a name has a number below zero and a text of its own.
    return (
        os.strerror(error.errno) if error.errno is not None and error.errno > 0 else one_line(error.strerror or error)
    )


def _checked(where: object, response: Any, start: int, stop: int) -> Answer:
    """Check that an answer is the range that was asked for, before its bytes are read."""
    headers, status = response.headers, response.status
    mark = headers.get("ETag") or headers.get("Last-Modified") or ""
    stated = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if status == 416 and stated and stated[3] == "0":
        return Answer(0, mark)
    if status != 206:
        raise _refusal(where, response, status)
    if headers.get("Content-Encoding", "identity") != "identity":
        raise SourceError(where, "its server sends it compressed, so it cannot be read by ranges; download it first")
    if not stated or stated[3] == "*" or (stated[1], stated[2]) != (str(start), str(stop - 1)):
        said = one_line(headers.get("Content-Range", "nothing"))
        raise SourceError(where, f"was asked for bytes {start}-{stop - 1}, its server answers with {said}")
    return Answer(int(stated[3]), mark)


def _refusal(where: object, response: Any, status: int) -> Exception:
    """Say what an answer means that is no range."""
    said = f"HTTP {status} {one_line(response.reason or '')}".strip()
    if status in _NOT_NOW or status >= 500:
        return PassingError(f"the server answers {said}")
    if status in (404, 410):
        return MissingError(where, f"no such file ({said})")
    if status in (401, 403, 407):
        hub = "; a private or gated model needs HF_TOKEN, and its conditions accepted on the hub"
        return SourceError(where, f"access is refused ({said}){hub if str(where).startswith('hf://') else ''}")
    if status in (412, 416):
        return SourceError(where, f"changed while it was being read ({said})")
    if status == 200 and response.content_type == "text/html":
        return PageError(where, "is a web page, not a file; give the address of the file itself")
    if status == 200:
        return SourceError(where, "its server does not send parts of a file, only the whole; download it first")
    return SourceError(where, f"the server answers {said}")


def s3_range(where: object, url: str, start: int, stop: int, mark: str) -> bytes:
    """Read the bytes from `start` to `stop` of an S3 object, on the condition that its ETag is still `mark`.

    Raises:
        MissingError: there is no such object.
        PassingError: the connection failed, or the length is wrong.
        SourceError: it changed, or access is refused.
    """
    from fsspec.asyn import sync

    fs, path = filesystem(url)
    try:
        data: bytes = sync(fs.loop, _s3_get, fs, path, start, stop, mark, timeout=LONGEST)
    except Exception as error:
        cause = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code", "")
        if cause in ("PreconditionFailed", "412", "InvalidRange", "416"):
            raise SourceError(where, "changed while it was being read") from None
        raise blamed(where, error) from None
    return _whole(data, start, stop)


async def _s3_get(fs: Any, path: str, start: int, stop: int, mark: str) -> bytes:
    bucket, key, version = fs.split_path(path)
    more = {"VersionId": version} if version else {}
    if mark:
        more["IfMatch"] = mark
    # cat_file has no way to state a condition.
    answer = await fs._call_s3("get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", **more)
    async with answer["Body"] as body:
        data: bytes = await body.read()
    return data


def listed_range(where: object, url: str, start: int, stop: int) -> bytes:
    """Read the bytes from `start` to `stop` through any other filesystem.

    Raises:
        MissingError: there is no such file.
        PassingError: it failed in a way that may pass, or the length is wrong.
        SourceError: access is refused.
    """
    from fsspec.asyn import sync

    fs, path = filesystem(url)
    try:
        if fs.async_impl:
            data: bytes = sync(fs.loop, fs._cat_file, path, start=start, end=stop, timeout=LONGEST)
        else:
            data = fs.cat_file(path, start=start, end=stop)
    except Exception as error:
        raise blamed(where, error) from None
    return _whole(data, start, stop)


def _whole(data: bytes, start: int, stop: int) -> bytes:
    if len(data) != stop - start:
        raise PassingError(f"{len(data)} bytes came instead of {stop - start}")
    return data


def blamed(where: object, error: Exception) -> Exception:
    """Give the error to raise for one of a filesystem: what will not pass as a `SourceError`, else a `PassingError`."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return MissingError(where, "no such file or folder")
    if isinstance(error, PermissionError):
        return SourceError(where, f"access is refused: {_said(error)}")
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        remedy = "set AWS_PROFILE or AWS_ACCESS_KEY_ID; for a public bucket set FSSPEC_S3_ANON=true"
        return SourceError(where, f"no credentials were found: {remedy}")
    if isinstance(error, SourceError | PassingError):
        return error
    if isinstance(error, NotImplementedError | TypeError | ValueError):
        return SourceError(where, f"cannot be read: {_said(error)}")
    if isinstance(error, TimeoutError):
        return PassingError(f"no answer in {LONGEST:g} s")
    return PassingError(_said(error))
