"""Documents whose files have vanished: which of them moved, and which may be removed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Protocol, runtime_checkable

from ragkit.errors import ConfigError, LoadError, StoreDamagedError
from ragkit.loading.sharding import Shard
from ragkit.storage import Store
from ragkit.types import Document, Failure, Source, SourceItem

Confirm = Callable[[str], bool]
"""Called with a question; returns whether to go on."""


@runtime_checkable
class Listing(Protocol):
    """A source that can tell what it will yield without reading it."""

    def listed(self) -> tuple[set[str], set[str]] | None:
        """Return the ids to come and the places that cannot be read; None if unknown."""
        ...


def text_sha256(text: str) -> str:
    """Return the SHA-256 of a text as stores record it."""
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_gone(source: str) -> bool:
    """Whether a document's source was a file on this machine that no longer exists."""
    # Names that are not UTF-8 are stored escaped, so the file cannot be looked up.
    if not os.path.isabs(source) or "\\udc" in source:
        return False
    try:
        os.lstat(source)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def vanished(
    store: Store,
    roots: Sequence[str],
    seen: Collection[str],
    unread: Collection[str],
    shard: Shard,
) -> dict[str, str]:
    """Return id and source of stored documents that are under the roots but were not met.

    Args:
        store: Where they are stored.
        roots: Absolute paths of the call.
        seen: Ids that were met.
        unread: Places below which nothing has vanished, as far as anyone knows.
        shard: The share of the documents that the call reads.
    """
    return {
        document_id: source
        for document_id, source in (_of_share(store, shard) if roots else ())
        if document_id not in seen and is_under(source, roots) and not is_under(source, unread)
    }


def moved_away(store: Store, gone: Iterable[str], texts: Mapping[str, int]) -> set[str]:
    """Return those of the vanished documents whose text came back under another id.

    Args:
        store: Where they are still stored.
        gone: Their ids.
        texts: How often each text, by its SHA-256, was added.
    """
    left = Counter(texts)
    found: set[str] = set()
    for document_id in gone if left else ():
        try:
            stored = store.document(document_id, ignore_groups=True)
        except StoreDamagedError:
            continue
        if stored is not None and left[stored[1]] > 0:
            left[stored[1]] -= 1
            found.add(document_id)
    return found


def check_prune(
    store: Store,
    source: Source,
    roots: Sequence[str],
    confirm: Confirm | None,
    *,
    shard: Shard,
    left_out: Callable[[], Iterable[str]] = tuple,
) -> bool:
    """Ask before more than half of what is stored from one of the paths is removed.

    Looks at names first; only where more than half of them have vanished are new files read, to see
    whether they are the old ones by another name. A source that cannot tell its names beforehand
    is not looked at. What was `left_out` while the names were listed is asked for later.

    Returns:
        Whether that was allowed, so that nobody need be asked again.

    Raises:
        ConfigError: it was not.
    """
    listed = source.listed() if isinstance(source, Listing) else None
    if listed is None:
        return False
    gone = vanished(store, roots, *listed, shard)
    for document_id in kept_though_left_out(gone, left_out(), None):
        del gone[document_id]
    if _emptied(store, gone, roots, shard) is None:
        return False
    known = {document_id for document_id, _ in store.sources()}
    texts = Counter(_new_texts(source.documents(), known))
    for document_id in moved_away(store, gone, texts):
        del gone[document_id]
    return refuse_emptying(store, gone, roots, confirm, shard)


def kept_though_left_out(
    gone: Mapping[str, str], left_out: Iterable[str], confirm: Confirm | None
) -> set[str]:
    """Return those of the vanished documents that stay unless somebody agrees.

    Their files are there, but a rule leaves them out by now.

    Args:
        gone: Ids and sources.
        left_out: Files and folders that are there, but are not read.
        confirm: Asked once; None agrees to nothing.
    """
    places = set(left_out)
    if not places:
        return set()
    kept = {name for name, source in gone.items() if _is_left_out(source, places)}
    what = f"prune would remove {len(kept)} documents whose files are there, but are left out now"
    return set() if kept and confirm is not None and confirm(what) else kept


def _is_left_out(source: str, places: set[str]) -> bool:
    if is_gone(source):
        return False
    return source in places or any(str(folder) in places for folder in PurePath(source).parents)


def refuse_emptying(
    store: Store,
    gone: Mapping[str, str],
    roots: Sequence[str],
    confirm: Confirm | None,
    shard: Shard,
) -> bool:
    """Ask before more than half of what is stored from one of the roots is removed.

    Returns:
        Whether that was allowed; false where there was no need to ask.

    Raises:
        ConfigError: it was not allowed.
    """
    emptied = _emptied(store, gone, roots, shard)
    if emptied is None:
        return False
    root, n_gone, n_stored = emptied
    what = f"prune would remove {n_gone} of the {n_stored} documents stored from {root!r}"
    if confirm is not None and confirm(what):
        return True
    raise ConfigError(
        f"{what}, and nothing was removed. Is the folder empty, or a disk not mounted? To remove "
        "them all the same: ragkit ingest … --prune --yes"
    )


def _emptied(
    store: Store, gone: Mapping[str, str], roots: Sequence[str], shard: Shard
) -> tuple[str, int, int] | None:
    """Return the first root that loses more than half, with numbers of documents gone and stored.

    Each root by itself: one small folder that came up empty must not hide among large ones.
    """
    touched = [
        (root, n_gone)
        for root in roots
        if (n_gone := sum(is_under(source, (root,)) for source in gone.values()))
    ]
    if not touched:
        return None
    stored = [source for _, source in _of_share(store, shard)]
    for root, n_gone in touched:
        n_stored = sum(is_under(source, (root,)) for source in stored)
        if 2 * n_gone > n_stored:
            return root, n_gone, n_stored
    return None


def _of_share(store: Store, shard: Shard) -> Iterator[tuple[str, str]]:
    """Yield the ids and sources of the stored documents that belong to a share."""
    return (found for found in store.sources() if shard.owns(found[0]))


def _new_texts(items: Iterable[SourceItem], known: Collection[str]) -> Iterator[str]:
    for item in items:
        if isinstance(item, Failure) or item.id in known:
            continue
        try:
            document = item if isinstance(item, Document) else item.load()
        except LoadError:
            continue
        yield text_sha256(document.text)


def is_under(source: str, places: Iterable[str]) -> bool:
    """Whether a source is one of the places, or below one."""
    return any(source == place or source.startswith(place.rstrip("/") + "/") for place in places)
