"""Writes a llama model with random weights, a few hundred kilobytes in all, that llama.cpp loads: `tiny_model.py PATH`.

Its answers are noise, but it has a vocabulary (every byte, and the letters), a chat template's worth of context and one
block of attention, so an engine does with it all that it does with a large one. Only letters have an output row that is
not zero: under greedy sampling one of them always wins, so an answer is text, and as long as it was asked to be.
"""

from __future__ import annotations

import sys

import gguf
import numpy

WIDTH = 32
HEADS = 4
INNER = 64
CONTEXT = 8192
LETTERS = [chr(code) for code in range(33, 127)]
LETTER_TOKENS = 2 * len(LETTERS)  # alone, and after a space


def vocabulary(writer: gguf.GGUFWriter) -> int:
    specials = [(b"<unk>", gguf.TokenType.UNKNOWN), (b"<s>", gguf.TokenType.CONTROL), (b"</s>", gguf.TokenType.CONTROL)]
    every_byte = [(f"<0x{code:02X}>".encode(), gguf.TokenType.BYTE) for code in range(256)]
    letters = [(text.encode(), gguf.TokenType.NORMAL) for text in ["▁", *LETTERS, *("▁" + one for one in LETTERS)]]
    tokens = [*specials, *every_byte, *letters]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([-float(rank) for rank in range(len(tokens))])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    return len(tokens)


def weights(writer: gguf.GGUFWriter, tokens: int) -> None:
    random = numpy.random.default_rng(7)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", random.standard_normal(shape).astype(numpy.float32))

    def add_norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", numpy.ones(WIDTH, dtype=numpy.float32))

    add("token_embd", tokens, WIDTH)
    for projection in ("q", "k", "v", "output"):
        add(f"blk.0.attn_{projection}", WIDTH, WIDTH)
    add("blk.0.ffn_gate", INNER, WIDTH)
    add("blk.0.ffn_up", INNER, WIDTH)
    add("blk.0.ffn_down", WIDTH, INNER)
    for norm in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        add_norm(norm)
    output = random.standard_normal((tokens, WIDTH)).astype(numpy.float32)
    output[: tokens - LETTER_TOKENS] = 0
    writer.add_tensor("output.weight", output)


def main(path: str) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    tokens = vocabulary(writer)
    writer.add_vocab_size(tokens)
    weights(writer, tokens)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1])
