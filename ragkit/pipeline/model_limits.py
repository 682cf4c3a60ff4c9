"""What a model's card says it cannot do, told before it is asked: one line, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragkit.pipeline.answer_costs import card_of
from ragkit.text.words import detect_language

if TYPE_CHECKING:
    from ragkit.costs.cards import ModelCard
    from ragkit.pipeline.parts import Parts


def tell_limits(parts: Parts, question: str, input_tokens: int) -> None:
    """Give notice of a prompt beyond the model's window, or of a language that it may not know.

    Args:
        parts: Of the pipeline.
        question: As asked.
        input_tokens: Our count of the prompt.
    """
    if not parts.generator().calls_llm:
        return
    card = card_of(parts)
    if card is None:
        return
    _tell_window(parts, card, input_tokens)
    language = detect_language(question)
    if card.languages is not None and language is not None and language not in card.languages:
        parts.notice(
            f"the question seems to be in {language!r}, which is not among the languages that "
            f"{card.name} is made for ({' '.join(card.languages)}); its answers may be poor"
        )


def _tell_window(parts: Parts, card: ModelCard, input_tokens: int) -> None:
    if card.window is None:
        return
    settings = parts.settings
    cap, answer = settings.max_context_tokens or 0, settings.max_tokens or 0
    if cap + answer > card.window:
        what = f"max_context_tokens {cap:,} and max_tokens {answer:,}"
    elif input_tokens + answer > card.window:
        what = "a prompt with its answer"
    else:
        return
    parts.notice(f"{what} may be beyond the {card.window:,} tokens that {card.name} reads at once")
