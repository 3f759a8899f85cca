#!/usr/bin/env python3
"""Compares `swerve tokenizer` with the Python `tokenizers` package on random text in many scripts, and writes the golden.

    python3 tools/tokenizer_diff.py --swerve build/light/swerve [--count 100000] [--vocab 4096] [--seed 1]
    python3 tools/tokenizer_diff.py --golden tests/policy/data/tokenizer_golden.json

A byte-level BPE vocabulary with Qwen2's pre-tokenisation is trained on the texts themselves and on the standard library's
sources, so that merges of every script occur. Lines never hold a newline, which ends a line of `swerve tokenizer`; the
golden, read as JSON, has them. Needs the package tokenizers.
"""
import argparse
import glob
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<img>", "</img>", "<IMG_CONTEXT>"]
FLAGGED = [AddedToken("<left>", lstrip=True, special=True), AddedToken("<right>", rstrip=True, special=True),
           AddedToken("<both>", lstrip=True, rstrip=True, normalized=False), AddedToken("lane", single_word=True),
           AddedToken("caf\u00e9x", normalized=True), AddedToken("<tool_call>", normalized=False), AddedToken("<normal\u00e9>", normalized=True, lstrip=True)]
WORDS = ["turn left", "I'll", "we'Ve", "don't", "it'S", "12345", "3.14", "straße", "naïve", "cafe\u0301x", "caf\u00e9x", "日本語の文章", "中文分词", "한국어", "العربية", "עברית", "हिन्दी", "ไทย",
         "Ελληνικά", "Русский", "👩‍👩‍👧‍👦", "🚗💨", "🇩🇪", "e\u0301\u0302", "\u1100\u1161\u11a8", "ﬁ", "Ⅷ", "½", "٣٤", "१२", "\u00a0", "\u3000", "\u2028", "\u0085", "\u200b", "\ufeff", "\t", "  ", "     ",
         "<answer>[1.0,-2.5,0.1]</answer>", "lane", "lanes", " lane ", "_lane", "<left>", "<right>", "<both>", "<normale\u0301>", "ſ", "'ſ", "'\u017f", "K\u212a", "\u001c", "\u180e", "…", "—", "“”", "!!!", "::", "\r"]


def text(rng, newline):
    parts = []
    for _ in range(rng.randrange(1, 12)):
        kind = rng.randrange(8)
        if kind < 4:
            parts.append(rng.choice(WORDS))
        elif kind == 4:
            parts.append(rng.choice(SPECIAL))
        elif kind == 5:
            parts.append("".join(chr(rng.randrange(32, 127)) for _ in range(rng.randrange(1, 8))))
        elif kind == 6:
            low, high = rng.choice([(0x80, 0x250), (0x300, 0x36f), (0x370, 0x5ff), (0x600, 0x6ff), (0x900, 0xdff), (0x1e00, 0x2bff), (0x3040, 0x9fff), (0xac00, 0xd7a3), (0x1f300, 0x1faff), (0, 0x10ffff)])
            parts.append("".join(chr(c) for c in (rng.randrange(low, high + 1) for _ in range(rng.randrange(1, 6))) if not 0xd800 <= c <= 0xdfff))
        else:
            parts.append(rng.choice([" ", "  ", "\t", "\n", "\r\n", " \n\n ", "\u00a0 "]) * rng.randrange(1, 4))
        if rng.random() < 0.4:
            parts.append(" ")
    out = "".join(parts)
    return out if newline else out.replace("\n", " ")


def train(vocab, seed):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    rng = random.Random(seed)
    corpus = [text(rng, True) for _ in range(3000)]
    if vocab > 2000:
        for path in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py"))):
            corpus += open(path, encoding="utf-8", errors="replace").read().splitlines(True)
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=vocab, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens(FLAGGED)
    return tokenizer


def run(swerve, verb, model, lines):
    out = subprocess.run([swerve, "tokenizer", verb, "--model", model], input="\n".join(lines) + "\n", capture_output=True, encoding="utf-8", check=True)
    return [json.loads(line) for line in out.stdout.split("\n") if line]


def compare(args):
    tokenizer = train(args.vocab, args.seed)
    rng = random.Random(args.seed + 1)
    with tempfile.TemporaryDirectory() as model:
        tokenizer.save(f"{model}/tokenizer.json")
        texts = [text(rng, False) for _ in range(args.count)]
        got, want = run(args.swerve, "encode", model, texts), [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
        assert len(got) == len(want)
        wrong = [(t, g, w) for t, g, w in zip(texts, got, want) if g != w]
        back = run(args.swerve, "decode", model, [json.dumps(w) for w in want])
        noise = [[rng.randrange(tokenizer.get_vocab_size()) for _ in range(rng.randrange(1, 20))] for _ in range(args.count // 10)]
        back += run(args.swerve, "decode", model, [json.dumps(ids) for ids in noise])
        undone = [(i, g) for i, g in zip(want + noise, back) if g != tokenizer.decode(i, skip_special_tokens=False)]
    for t, g, w in wrong[:8]:
        print("encode", ascii(t), "\n  got ", g, "\n  want", w)
    for i, g in undone[:8]:
        print("decode", i, "\n  got ", ascii(g), "\n  want", ascii(tokenizer.decode(i, skip_special_tokens=False)))
    print(json.dumps({"texts": args.count, "vocabulary": tokenizer.get_vocab_size(), "encode_different": len(wrong), "decode_different": len(undone), "decoded": len(back)}))
    return 1 if wrong or undone else 0


def golden(path):
    tokenizer = train(600, 3)
    rng = random.Random(11)
    texts = [text(rng, True) for _ in range(300)] + ["", " ", "\n", "\n\n", "a" * 300, "\u0301" * 40]
    json.dump({"tokenizer": json.loads(tokenizer.to_str()),
               "cases": [{"text": t, "ids": e.ids, "decoded": tokenizer.decode(e.ids, skip_special_tokens=False)} for t, e in zip(texts, tokenizer.encode_batch(texts, add_special_tokens=False))]},
              open(path, "w"), separators=(",", ":"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--swerve")
    parser.add_argument("--golden")
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.golden:
        golden(args.golden)
        return 0
    return compare(args)


if __name__ == "__main__":
    sys.exit(main())
