"""Small random models that are made here, with a real tokenizer trained on this repository's text.

They prove that prompts, counts, limits and streams are right; what they say means nothing.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.types import Message

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTEXT_TOKENS = 2048
WIDTH = 64

_ROOT = Path(__file__).parents[2]


def library(name: str) -> Any:  # noqa: ANN401 - these libraries have no types that hold
    """Import a library that is not installed where types are checked."""
    return importlib.import_module(name)


def train_tokenizer() -> Any:  # noqa: ANN401
    """Return a byte-level BPE tokenizer of at most 1,500 tokens, special ones first."""
    tokenizers = library("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [path.read_text("utf-8") for path in sorted((_ROOT / "examples").rglob("*.md"))]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def clean_texts() -> list[str]:
    """Return texts without control tokens: the paragraphs of this repository's pages."""
    pages = [*sorted((_ROOT / "examples").rglob("*.md")), *sorted((_ROOT / "docs").glob("*.md"))]
    texts = "\n\n".join(path.read_text("utf-8") for path in pages).split("\n\n")
    return [text for text in texts if not any(token in text for token in SPECIAL_TOKENS)][:400]


def messages_in(text: str) -> list[Message]:
    """Return the messages in a prompt that `CHAT_TEMPLATE` has written."""
    found = re.findall(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>", text, re.DOTALL)
    return [Message(role=role, content=content) for role, content in found]


def encode(tokenizer: Any, text: str) -> list[int]:  # noqa: ANN401
    """Return the tokens of a text, special ones understood and none added."""
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def output_weights(tokenizer: Any, random: np.random.Generator, sharpness: float) -> Any:  # noqa: ANN401
    """Return weights of a model that does not end or blank its answer, the sharper the surer."""
    import numpy as np

    n_tokens = tokenizer.get_vocab_size()
    weights = sharpness * random.standard_normal((n_tokens, WIDTH)).astype(np.float32)
    for i in range(n_tokens):
        if not tokenizer.decode([i], skip_special_tokens=True).strip().isalpha():
            weights[i] = 0.0
    return weights


def write_gguf(
    path: Path,
    *,
    template: str | None = CHAT_TEMPLATE,
    sharpness: float = 1000.0,
    special_kind: str = "CONTROL",
    end: int = 2,
) -> Path:
    """Write a random Llama of two layers as a GGUF file, 1 MB; `end` is what ends its texts."""
    import numpy as np

    gguf, tokenizer = library("gguf"), train_tokenizer()
    random = np.random.default_rng(7)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    tokens = [token for token, _ in vocabulary]
    kinds = [gguf.TokenType[special_kind] if t in SPECIAL_TOKENS else gguf.TokenType.NORMAL
             for t in tokens]  # fmt: skip
    kinds[0] = gguf.TokenType.UNKNOWN
    merges = [" ".join(pair) for pair in _merges(tokenizer)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(2)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(end)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    if template is not None:
        writer.add_chat_template(template)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return (0.1 * random.standard_normal(shape)).astype(np.float32)

    ones = np.ones(WIDTH, dtype=np.float32)
    writer.add_tensor("token_embd.weight", drawn(len(tokens), WIDTH))
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", output_weights(tokenizer, random, sharpness))
    for i in range(2):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{name}.weight", ones)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{i}.{name}.weight", drawn(WIDTH, WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{i}.{name}.weight", drawn(128, WIDTH))
        writer.add_tensor(f"blk.{i}.ffn_down.weight", drawn(WIDTH, 128))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_llama(
    folder: Path, *, template: str | None = CHAT_TEMPLATE, sharpness: float = 1000.0
) -> Path:
    """Write a random Llama of two layers in the format of transformers."""
    transformers, torch, tokenizer = library("transformers"), library("torch"), train_tokenizer()
    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=WIDTH, intermediate_size=128,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=CONTEXT_TOKENS,
        bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    _save(folder, model, tokenizer, sharpness, template)
    return folder


def write_t5(folder: Path) -> Path:
    """Write a random T5 of one layer, which reads with an encoder and writes with a decoder."""
    transformers, torch, tokenizer = library("transformers"), library("torch"), train_tokenizer()
    torch.manual_seed(7)
    config = transformers.T5Config(
        vocab_size=tokenizer.get_vocab_size(), d_model=WIDTH, d_kv=16, d_ff=128, num_layers=1,
        num_heads=4, pad_token_id=0, eos_token_id=2, decoder_start_token_id=0,
        tie_word_embeddings=False,
    )  # fmt: skip
    tokenizer.post_processor = library("tokenizers").processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    _save(folder, transformers.T5ForConditionalGeneration(config), tokenizer, 1000.0, None)
    return folder


def write_adapter(folder: Path, model_folder: Path, kind: str) -> Path:
    """Write a random adapter of the peft library for a model: lora, prefix, prompt or p_tuning."""
    peft, torch = library("peft"), library("torch")
    model = library("transformers").AutoModelForCausalLM.from_pretrained(model_folder)
    virtual = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4}
    configs = {
        "lora": lambda: peft.LoraConfig(
            task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj", "down_proj"]
        ),
        "prefix": lambda: peft.PrefixTuningConfig(**virtual),
        "prompt": lambda: peft.PromptTuningConfig(**virtual),
        "p_tuning": lambda: peft.PromptEncoderConfig(**virtual, encoder_hidden_size=16),
    }
    torch.manual_seed(11)
    adapted = peft.get_peft_model(model, configs[kind]())
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    adapted.save_pretrained(folder)
    return folder


def write_lora_gguf(path: Path) -> Path:
    """Write a random LoRA adapter for the model of `write_gguf`."""
    import numpy as np

    writer = library("gguf").GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    random = np.random.default_rng(3)
    for i in range(2):
        for shape, suffix in (((4, WIDTH), "lora_a"), ((WIDTH, 4), "lora_b")):
            drawn = random.standard_normal(shape).astype(np.float32)
            writer.add_tensor(f"blk.{i}.attn_v.weight.{suffix}", drawn)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _save(
    folder: Path,
    model: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    sharpness: float,
    template: str | None,
) -> None:
    import numpy as np

    torch = library("torch")
    with torch.no_grad():
        weights = output_weights(tokenizer, np.random.default_rng(7), sharpness)
        model.lm_head.weight.copy_(torch.from_numpy(weights))
    model.save_pretrained(folder)
    special = dict(zip(("unk_token", "bos_token", "eos_token"), SPECIAL_TOKENS, strict=False))
    fast = library("transformers").PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    if template is not None:
        fast.chat_template = template
    # What the template writes is special, as it is in models that are made for chats.
    fast.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS[3:])})
    fast.save_pretrained(folder)


def _merges(tokenizer: Any) -> list[list[str]]:  # noqa: ANN401
    import json

    merges: list[list[str] | str] = json.loads(tokenizer.to_str())["model"]["merges"]
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
