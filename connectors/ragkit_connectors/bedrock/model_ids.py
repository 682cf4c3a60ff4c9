"""Names of Bedrock models: which base model an inference profile or an ARN stands for."""

from __future__ import annotations

import re

from ragkit.errors import ConfigError

_PROVIDERS = frozenset(
    "ai21 amazon anthropic cohere deepseek google luma meta minimax mistral moonshot moonshotai "
    "nvidia openai qwen stability twelvelabs writer xai zai".split()
)
_NAMED_BY_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:[^:]*:[^:]*:(foundation-model|inference-profile)/"
)

_LEAST_CACHED_TOKENS = {
    "amazon.nova": 1000,
    "anthropic.claude-3-5-sonnet-20241022": 1024,
    "anthropic.claude-3-7-sonnet": 1024,
    "anthropic.claude-sonnet-4-2": 1024,
    "anthropic.claude-sonnet-4-5": 1024,
    "anthropic.claude-sonnet-4-6": 1024,
    "anthropic.claude-opus-4-2": 1024,
    "anthropic.claude-opus-4-1": 1024,
    "anthropic.claude-3-5-haiku": 2048,
    "anthropic.claude-haiku-4-5": 4096,
    "anthropic.claude-opus-4-5": 4096,
    "anthropic.claude-opus-4-6": 4096,
    "anthropic.claude-opus-4-7": 4096,
    "anthropic.claude-opus-4-8": 1024,
    "anthropic.claude-opus-5": 512,
    "anthropic.claude-sonnet-5-5": 512,
    "anthropic.claude-sonnet-5": 1024,
    "anthropic.claude-haiku-5-5": 512,
    "anthropic.claude-fable-5": 512,
    "anthropic.claude-mythos-5": 512,
}
"""Tokens from which the beginning of a prompt is cached, by how the id of the model begins, the
longer beginning first: Amazon Bedrock user guide, "Prompt caching" (its editions differ for Sonnet
4.5: 4096 in May 2026, 1024 before and after), and Anthropic's documentation of the same name, which
alone has Sonnet 4, Opus 5.5 and Haiku 5.5."""


def least_cached_tokens(model: str) -> int | None:
    """Return the tokens from which Bedrock caches the beginning of a prompt; None: unknown."""
    base = base_model(model) or ""
    found = (n for prefix, n in _LEAST_CACHED_TOKENS.items() if base.startswith(prefix))
    return next(found, None)


def check_model(kind: str, model: str) -> None:
    """Raise `ConfigError` unless a text can be the name of a model."""
    if not model or len(model) > 2048 or not re.fullmatch(r"[\w.:/-]+", model, re.ASCII):
        raise ConfigError(
            f"{kind} 'bedrock:{model[:100]}'; allowed: bedrock:MODEL, where MODEL is the id of a "
            "model or of an inference profile, or an ARN"
        )


def inference_profile(model: str) -> str | None:
    """Return the prefix of the inference profile that a model is called by.

    Returns:
        `eu`, `us`, `global` and so on; "" for a model that runs in the Region where it is called;
        None for names that do not show it, such as the ARN of an application inference profile.
    """
    base = base_model(model)
    if base is None:
        return None
    return model.rpartition("/")[2].removesuffix(base).rstrip(".")


def base_model(model: str) -> str | None:
    """Return the id of the base model; None for names that do not show it.

    The prefixes of inference profiles (eu, us, global) grow in number, so whatever stands before a
    known provider is one. The ARN of an application inference profile shows nothing.
    """
    if model.startswith("arn:"):
        match = _NAMED_BY_ARN.match(model)
        if match is None:
            return None
        model = model[match.end() :]
    first, _, rest = model.partition(".")
    if first in _PROVIDERS:
        return model
    return rest if rest.partition(".")[0] in _PROVIDERS else None
