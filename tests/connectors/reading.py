"""What a source gives, without a store."""

from __future__ import annotations

from ragkit.errors import LoadError
from ragkit.loading.isolation import InProcess
from ragkit.loading.remote import Reading
from ragkit.types import Document, Failure, PendingDocument
from ragkit_connectors import open_source


def read(name: str, **settings: object) -> tuple[dict[str, Document], list[Failure]]:
    """Return the documents of a source by their ids, and its failures."""
    reading = Reading(parser=InProcess(), **settings)  # type: ignore[arg-type]
    documents, failures = dict[str, Document](), list[Failure]()
    for item in open_source(name, reading=reading).documents():
        if isinstance(item, Failure):
            failures.append(item)
            continue
        try:
            document = item.load() if isinstance(item, PendingDocument) else item
        except LoadError as error:
            failures.append(Failure(source=item.source, code=error.code, detail=error.detail))
        else:
            documents[document.id] = document
    return documents, failures
