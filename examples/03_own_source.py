"""Ingest documents from anywhere: a source is an object with one method."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from ragkit import RAG, Document

TICKETS = {
    17: ("Printer on floor 2", "The printer on floor 2 jams when the paper is damp."),
    18: ("Slow network", "The network in the canteen is slow between noon and one o'clock."),
}


@dataclass
class TicketSource:
    """Closed tickets of a support desk, visible to the given groups."""

    groups: tuple[str, ...] = ()

    def documents(self) -> Iterator[Document]:
        """Yield one document per ticket."""
        for number, (title, text) in TICKETS.items():
            yield Document(
                id=f"ticket-{number}",
                title=title,
                text=text,
                metadata={"number": number},
                groups=self.groups,
            )


with tempfile.TemporaryDirectory() as folder, RAG(f"{folder}/kb") as rag:
    rag.ingest(TicketSource(groups=("support",)))
    hits = rag.search("printer jams", groups=["support"], filters={"number": {"$lt": 18}})
    print([hit.chunk.document_id for hit in hits])
    print("for guests:", list(rag.search("printer jams", groups=["guests"])))
