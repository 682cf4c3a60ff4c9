"""Where passages of another retriever stand in the documents of a dataset: by their exact text."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing

from ragkit.errors import ConfigError
from ragkit.types import Document, PendingDocument
from ragkit_eval.data.datasets import Dataset

MOST_PLACES = 100
"""Places of one passage that are told apart: a boilerplate text may stand anywhere."""

_WORD = re.compile(r"\w+")


class Locator:
    """Finds passages in documents.

    Only documents with a passage's rarest word are searched, and each passage once.
    """

    def __init__(self, documents: Iterable[Document]) -> None:
        self.documents = {document.id: document for document in documents}
        self._with_word: dict[str, list[str]] = {}
        for name, document in self.documents.items():
            for word in set(_WORD.findall(document.text)):
                self._with_word.setdefault(word, []).append(name)
        self._known: dict[str, Sequence[tuple[str, int]]] = {}

    def places(self, passage: str) -> Sequence[tuple[str, int]]:
        """Return the document and the offset of each place where a passage stands word for word.

        White space around it does not count.
        """
        if passage not in self._known:
            text = passage.strip()
            shift = passage.find(text)
            self._known[passage] = [(name, at - shift) for name, at in self._found(text)]
        return self._known[passage]

    def counts(self) -> dict[str, int]:
        """Return how many passages were asked for, and how many have several places or none."""
        n_places = list(map(len, self._known.values()))
        return {
            "passages": len(n_places),
            "ambiguous": sum(n > 1 for n in n_places),
            "missing": sum(n == 0 for n in n_places),
        }

    def _found(self, text: str) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for name in self._candidates(text) if text else ():
            at = self.documents[name].text.find(text)
            while at >= 0 and len(found) < MOST_PLACES:
                found.append((name, at))
                at = self.documents[name].text.find(text, at + len(text))
        return found

    def _candidates(self, text: str) -> Collection[str]:
        # The first and the last word may have been cut.
        words = _WORD.findall(text)[1:-1]
        found = (self._with_word.get(word, ()) for word in words)
        return min(found, key=len, default=self.documents)


def read_documents(dataset: Dataset) -> list[Document]:
    """Return the documents of a dataset as they would be ingested.

    Raises:
        ConfigError: it has none, or one cannot be read.
    """
    from ragkit.loading import open_source

    if dataset.corpus is None:
        if not dataset.documents:
            raise ConfigError(
                f"dataset {dataset.name!r} has no documents, so it is not known where its evidence "
                "stands; add corpus.jsonl or docs/, or label with answers or needs"
            )
        return list(dataset.documents)
    documents: list[Document] = []
    source = open_source([dataset.corpus])
    with closing(source.parser):
        for item in source.documents():
            if isinstance(item, PendingDocument):
                documents.append(item.load())
            elif isinstance(item, Document):
                documents.append(item)
            elif not item.skipped:
                raise ConfigError(f"{item.source} of {dataset.name} cannot be read: {item.detail}")
    return documents
