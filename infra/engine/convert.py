#!/usr/bin/env python3
"""Makes the GGUF file of a BERT (MiniLM for embeddings, or a cross-encoder) from its published weights; the vocabulary lies beside those.

    convert.py WEIGHTS.safetensors|WEIGHTS.onnx OUT.gguf NAME mean|rank

The names and the layout are those that llama.cpp's own convert_hf_to_gguf.py gives them, which needs PyTorch.
"""

import pathlib
import sys

import gguf
import numpy

import weights

# Both models have 384 numbers for each token, in twelve heads.
HEADS = 12
POOLING = {"mean": gguf.PoolingType.MEAN, "rank": gguf.PoolingType.RANK}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

OF_MODEL = {
    "embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
    "pooler.dense": "cls", "classifier": "cls.output",
}
OF_LAYER = {
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v", "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm", "intermediate.dense": "ffn_up", "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
# Large matrices are halved to 16 bits; these stay as they are.
KEPT_WIDE = ["position_embd", "token_types", "cls.output"]


def layers(tensors: dict[str, numpy.ndarray]) -> int:
    return 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layer."))


def renamed(tensors: dict[str, numpy.ndarray], has_head: bool) -> dict[str, str]:
    """Our name of each tensor that the file gets, and its published one."""
    modules = {name: new for name, new in OF_MODEL.items() if has_head or not name.startswith(("pooler", "classifier"))}
    for layer in range(layers(tensors)):
        modules |= {f"encoder.layer.{layer}.{name}": f"blk.{layer}.{new}" for name, new in OF_LAYER.items()}
    return {f"{new}.{part}": f"{name}.{part}" for name, new in modules.items() for part in ["weight", "bias"] if f"{name}.{part}" in tensors}


def add_shape(writer: gguf.GGUFWriter, tensors: dict[str, numpy.ndarray]) -> None:
    positions, width = tensors["embeddings.position_embeddings.weight"].shape
    writer.add_context_length(positions)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(tensors["encoder.layer.0.intermediate.dense.weight"].shape[0])
    writer.add_block_count(layers(tensors))
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)


def add_vocabulary(writer: gguf.GGUFWriter, words: list[str]) -> None:
    """WordPiece marks what goes on inside a word by ##; GGUF marks what begins one."""
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(2)
    tokens, kinds = [], []
    for word in words:
        if word in SPECIAL or word.startswith("[unused"):
            tokens.append(word)
            kinds.append(gguf.TokenType.CONTROL if word in SPECIAL else gguf.TokenType.UNUSED)
        else:
            tokens.append(word[2:] if word.startswith("##") else "\u2581" + word)
            kinds.append(gguf.TokenType.NORMAL)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    pad, unknown, first, separator, mask = map(words.index, SPECIAL)
    writer.add_bos_token_id(first)
    writer.add_uint32("tokenizer.ggml.cls_token_id", first)
    writer.add_eos_token_id(separator)
    writer.add_sep_token_id(separator)
    writer.add_unk_token_id(unknown)
    writer.add_pad_token_id(pad)
    writer.add_mask_token_id(mask)


def main(source: pathlib.Path, made: pathlib.Path, name: str, pooling: str) -> None:
    tensors = weights.read(source)
    writer = gguf.GGUFWriter(made, "bert")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_pooling_type(POOLING[pooling])
    add_shape(writer, tensors)
    add_vocabulary(writer, (source.parent / "vocab.txt").read_text(encoding="utf-8").splitlines())
    if pooling == "rank":
        writer.add_array("bert.classifier.output_labels", ["LABEL_0"])
    for new, old in renamed(tensors, has_head=pooling == "rank").items():
        tensor = tensors[old]
        is_halved = tensor.ndim == 2 and new.removesuffix(".weight") not in KEPT_WIDE
        writer.add_tensor(new, numpy.ascontiguousarray(tensor, dtype=numpy.float16 if is_halved else numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4])
