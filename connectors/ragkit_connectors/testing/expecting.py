"""What contracts expect: assertions that say what was found, under `python -O` too."""

from __future__ import annotations

from collections.abc import Callable

from ragkit.types import GenerationOptions, Generator, Prompt


def expect(condition: bool, message: str) -> None:
    """Raise `AssertionError` with this message unless the condition holds."""
    # An assert statement here would vanish under `python -O`, and pytest does not explain it.
    if not condition:
        raise AssertionError(message)


def raised(kind: type[Exception], call: Callable[[], object]) -> Exception:
    """Return the error that a call raises; raises `AssertionError` where it raises none."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def both_calls(
    generator: Generator, prompt: Prompt, options: GenerationOptions
) -> tuple[Callable[[], object], ...]:
    """Return both ways to generate, to be called."""
    return (
        lambda: generator.generate(prompt, options),
        lambda: list(generator.stream(prompt, options)),
    )
