#!/usr/bin/env python3
"""Our encoder against transformers on PyTorch: same weights, texts, token limit, precision (fp32) and threads, in one run.

    compare.py THROUGHPUT_BINARY TEXTS.txt MODEL_DIR [--threads N] [--rounds N] [--batch N]

Four programs take turns, round after round, so that a busy machine slows all of them down alike:
  naive    transformers, batches in the order of the texts, padded to the longest of each
  sorted   transformers, batches of texts sorted by length over all texts
  encode   contactflow, tokenizer and encoder: what the two above do
  score    contactflow, all that becomes of a text, heads included
A rate is texts per second of CPU time (threads of one process add up), which a busy machine disturbs least; the median of
the rounds counts. The floor is what the products of the dense layers need at the rate of a core's fused multiply-adds alone,
measured after every round, or of PyTorch's products where those are faster (vectors of 512 bits).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("texts")
parser.add_argument("model")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--batch", type=int, default=32, help="texts per batch of transformers (32 is the usual default)")
parser.add_argument("--max-tokens", type=int, default=128)
options = parser.parse_args()
# Threads that spin while they wait would count as CPU time of the others.
os.environ.update(OMP_NUM_THREADS=str(options.threads), OMP_WAIT_POLICY="passive", HF_HUB_OFFLINE="1")

import torch  # noqa: E402
from transformers import BertModel, PreTrainedTokenizerFast  # noqa: E402

torch.set_num_threads(options.threads)
texts = open(options.texts, encoding="utf-8").read().splitlines()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_file=f"{options.model}/tokenizer.json",
    pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", mask_token="[MASK]",
)
model = BertModel.from_pretrained(options.model, dtype=torch.float32).eval()


def tokenize(batch):
    return tokenizer(batch, truncation=True, max_length=options.max_tokens, padding=True, return_tensors="pt")


def transformers(order):
    with torch.inference_mode():
        for start in range(0, len(order), options.batch):
            inputs = tokenize([texts[index] for index in order[start : start + options.batch]])
            model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])


def sorted_order():
    """By the number of tokens, the longest first: what sentence-transformers does, with the exact number."""
    ids = tokenizer(texts, truncation=True, max_length=options.max_tokens)["input_ids"]
    return sorted(range(len(texts)), key=lambda index: -len(ids[index]))


def timed(work):
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


class Ours:
    """A round of the program `throughput` for each line it gets."""

    def __init__(self, what):
        command = [options.binary, options.texts, str(options.threads), what, str(options.rounds), options.model]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the program {options.binary} ended; see its message above")
        return json.loads(line)


def gemm_gflops():
    """The rate of the four products of a layer, single precision, with as many rows as a pass of our encoder has."""
    rows, hidden, inner = 2048, model.config.hidden_size, model.config.intermediate_size
    shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden)]
    operands = [(torch.randn(rows, size), torch.randn(out, size)) for size, out in shapes]
    with torch.inference_mode():
        repeats = 10
        work = lambda: [torch.nn.functional.linear(*pair) for _ in range(repeats) for pair in operands]  # noqa: E731
        took = timed(work)
    return 2 * rows * sum(size * out for size, out in shapes) * repeats / took["cpu_s"] / 1e9


config = model.config
per_token = config.num_hidden_layers * 2 * config.hidden_size * (4 * config.hidden_size + 2 * config.intermediate_size)
ours = {what: Ours(what) for what in ("encode", "score")}
transformers(list(range(min(len(texts), 4 * options.batch))))
rounds = {name: [] for name in ("naive", "sorted", "encode", "score")}
gemm = []
for number in range(options.rounds):
    rounds["naive"].append(timed(lambda: transformers(range(len(texts)))))
    rounds["encode"].append(ours["encode"].round())
    rounds["sorted"].append(timed(lambda: transformers(sorted_order())))
    rounds["score"].append(ours["score"].round())
    gemm.append(gemm_gflops())
    print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)

tokens = rounds["encode"][0]["tokens"]
rate = {name: statistics.median(len(texts) / took["cpu_s"] for took in all_of) for name, all_of in rounds.items()}
peak = statistics.median(took["peak_gflops"] or 0 for took in rounds["encode"])
flops = max(peak, statistics.median(gemm))
floor = flops * 1e9 / (per_token * tokens / len(texts))
print(f"{len(texts)} texts, {tokens / len(texts):.1f} tokens each, fp32, {options.threads} thread(s), batches of {options.batch}")
for name, what in [
    ("naive", "transformers, naive batches"), ("sorted", "transformers, sorted by length"),
    ("encode", "contactflow, encoder"), ("score", "contactflow, encoder and heads"),
]:
    wall = statistics.median(len(texts) / took["wall_s"] for took in rounds[name])
    print(f"{what:32} {rate[name]:7.1f} texts per CPU second {wall:7.1f} per second of wall time")
print(f"encoder / naive {rate['encode'] / rate['naive']:.2f}, encoder / sorted {rate['encode'] / rate['sorted']:.2f}; "
      f"with heads {rate['score'] / rate['naive']:.2f} and {rate['score'] / rate['sorted']:.2f}")
print(f"floor: {per_token / 1e6:.1f} MFLOP a token in the dense layers, {flops:.0f} GFLOP/s at most "
      f"({statistics.median(gemm):.0f} in PyTorch's products alone): {floor:.0f} texts per CPU second; "
      f"the encoder reaches {rate['encode'] / floor:.0%} of it, transformers {rate['sorted'] / floor:.0%}")
