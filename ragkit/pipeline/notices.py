"""What an ingest tells about its store beside the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragkit.groups import PUBLIC
from ragkit.pipeline.opening import has_numpy
from ragkit.pipeline.wanted import chunker_for, keeps_units
from ragkit.storage import Store, StoreSettings, as_holding_sentences

if TYPE_CHECKING:
    from ragkit.pipeline.ingesting import Ingester
    from ragkit.pipeline.parts import Parts
    from ragkit.pipeline.report import IngestReport


def tell_older(parts: Parts, store: Store | None, settings: StoreSettings) -> None:
    """Tell what a store made by an older ragkit goes without."""
    if parts.given_chunker is None and not keeps_units(chunker_for(parts, settings)):
        parts.notice(
            "the store keeps no lists, tables or code together, as it was made by an older ragkit; "
            "ragkit rebuild makes it do so"
        )
    wants = settings.dim is not None and parts.settings.sentence_vectors is None
    remote = as_holding_sentences(store)
    if wants and remote is not None and not remote.can_hold_sentences():
        parts.notice(
            "the store holds no vectors of sentences, as it was made by an older ragkit, so that "
            "trimming keeps more; ragkit rebuild adds them"
        )


def tell_languages(parts: Parts, report: IngestReport) -> None:
    """Tell when many documents are not in the language of the built-in embedder."""
    known = sum(report.languages.values())
    foreign = known - report.languages.get("en", 0)
    if parts.given_embedder in {None, "builtin"} and has_numpy() and foreign * 10 > known:
        parts.notice(
            f"{foreign} of {known} documents are not in English; the built-in embedder is "
            "English, so they are found by keyword search"
        )


def tell_hidden(parts: Parts, store: Store, ingester: Ingester) -> None:
    """Explain the effect of the first document with groups."""
    n_hidden = store.count()["documents"] - ingester.n_grouped
    if n_hidden:
        parts.notice(
            f"the store is protected now: {n_hidden:,} documents without groups are hidden "
            f"from everybody; to show them, ingest them again with --groups {PUBLIC} (or "
            "groups of their own)"
        )
