"""Repositories on a Hugging Face hub: which files a commit holds, and where their bytes are.

`hf://[datasets/|spaces/]organisation/name[@revision][/path]`, as huggingface_hub's file system writes it. The address
of the hub and the token are those that huggingface_hub finds (HF_ENDPOINT, HF_TOKEN, a login); the hub itself is asked
here, by its documented interface, so that nothing is written to a cache and nothing else is sent. A revision is pinned
to its commit when it is opened, so that a push while a model is read changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from heavytail.errors import SourceError
from heavytail.weights.faults import one_line, quoted, reading
from heavytail.weights.places import fetch

__all__ = ["address", "commit", "entry", "listing"]

_PLACE = re.compile(
    r"hf://(?:(?P<kind>model|dataset|space)s/)?(?P<repo>[^/@?#]+/[^/@?#]+)"
    r"(?:@(?P<revision>refs/[^/]+/[^/]+|[^/]+))?(?:/(?P<path>.*))?",
    re.IGNORECASE,
)
_SHA = re.compile(r"[0-9a-f]{40,64}")


def commit(url: str) -> str:
    """Ask for the commit that the revision of a URL stands for.

    Raises:
        SourceError: there is no such repository or revision, or it may not be read.
    """
    kind, repo, revision, _ = _parts(url)
    with reading(url, "the answer of the hub"):
        sha = str(_asked(url, kind, repo, revision, "")["sha"])
        if not _SHA.fullmatch(sha):
            raise ValueError(f"{quoted(sha)} is no commit")
        return sha


def entry(url: str, sha: str) -> tuple[int, str]:
    """Give the size of a file in a commit and the name of its content.

    Raises:
        MissingError: there is no such file.
    """
    kind, repo, _, path = _parts(url)
    found = _files(kind, repo, sha).get(path)
    if found is None:
        raise fetch.MissingError(url, f"no such file in the repository at commit {sha}")
    return found


def listing(url: str, sha: str) -> list[str]:
    """List the files that stand directly in the folder of a URL in a commit."""
    kind, repo, _, path = _parts(url)
    folder = f"{path.rstrip('/')}/" if path.strip("/") else ""
    inside = (name[len(folder) :] for name in _files(kind, repo, sha) if name.startswith(folder))
    return [name for name in inside if "/" not in name]


def address(url: str, sha: str) -> tuple[str, Mapping[str, str]]:
    """Give the web address of a file in a commit, and the headers that it is asked for with."""
    kind, repo, _, path = _parts(url)
    hub, headers = _login(url)
    return f"{hub}/{_folder(kind)}{quote(repo)}/resolve/{sha}/{quote(path)}", headers


def _folder(kind: str) -> str:
    return "" if kind == "model" else f"{kind}s/"


def _login(url: str) -> tuple[str, Mapping[str, str]]:
    """Give the address of the hub and the headers that say who asks, as the user has set them."""
    try:
        from huggingface_hub import constants, get_token
    except ImportError as error:
        raise fetch.missing(url, error) from None
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return constants.ENDPOINT, {"Authorization": f"Bearer {token}"} if token else {}


def _parts(url: str) -> tuple[str, str, str, str]:
    match = _PLACE.fullmatch(url)
    if match is None:
        raise SourceError(url, "is not of the form hf://organisation/model[@revision][/file]")
    return (match["kind"] or "model").lower(), match["repo"], unquote(match["revision"] or "main"), match["path"] or ""


@lru_cache(maxsize=16)
def _files(kind: str, repo: str, sha: str) -> Mapping[str, tuple[int, str]]:
    """List all files of a commit, which never changes: size and content's name under the path."""
    where = f"hf://{_folder(kind)}{repo}"
    with reading(where, "the list of files"):
        files = _asked(where, kind, repo, sha, "?blobs=true")["siblings"]
        return {str(file["rfilename"]): (int(file["size"]), str(file["blobId"])) for file in files}


def _asked(where: str, kind: str, repo: str, revision: str, query: str) -> dict[str, Any]:
    """Ask the hub what it knows of a repository.

    Raises:
        SourceError: it refuses, or does not answer.
    """
    hub, headers = _login(where)
    url = f"{hub}/api/{kind}s/{quote(repo)}/revision/{quote(revision, safe='')}{query}"
    status, given, text = fetch.patiently(where, "the hub", lambda: fetch.http_text(where, url, headers))
    if status != 200:
        raise SourceError(where, _refusal(status, given.get("X-Error-Code", ""), revision))
    answer = json.loads(text)
    if not isinstance(answer, dict):
        raise ValueError("it is no object")
    return answer


def _refusal(status: int, code: str, revision: str) -> str:
    if code == "GatedRepo":
        return "is gated: accept its conditions on the hub and set HF_TOKEN"
    if code == "RevisionNotFound":
        return f"there is no revision {quoted(revision)}"
    if code == "RepoNotFound" or status in (401, 404):
        return "no such repository, or a private one: set HF_TOKEN to a token that may read it"
    return f"the hub answers HTTP {status} {one_line(code)}".strip()
