#!/usr/bin/env python3
"""Writes tests/policy/data: a model of about 100,000 parameters and what transformers and tokenizers compute with it, and
architectures/, small random models of every architecture and layout with what transformers computes with them.

    python tools/make_policy_golden.py [--out tests/policy/data] [--only architectures]

Wants models/tiny for its tokenizer, and what tools/random_models.py needs.
"""
import argparse
import base64
import json
import pathlib
import random
import subprocess
import sys

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import AutoModelForImageTextToText, InternVLConfig, Qwen2_5_VLConfig, Qwen2Config
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig

import random_models as rm

HERE = pathlib.Path(__file__).resolve().parent
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
WORDS = ["lead car 12 m ahead speed 3.4 ", "[12.3,-0.4,0.05],", "<think>", "<|im_end|>", "\n\n", "  ", "Größe ", "ﬁ", "e\u0301", "日本",
         "👩‍👩‍👧", "\u00a0", "-", "1234567.5", "\x00", "\u2028", "</answer>", "?!...", "don't", "\t", "\x85", "\x0b", "\r\n", "<answer"]


TEXT = dict(vocab_size=300, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, eos_token_id=7,
            bos_token_id=None, max_position_embeddings=2048)
ROPE = {"rope_type": "default", "rope_theta": 1e6}
TILES = {"image_processor_type": "GotOcr2ImageProcessorFast", "size": {"height": 56, "width": 56}, "crop_to_patches": True, "min_patches": 1, "max_patches": 4,
         "resample": 3, "do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": rm.MEAN, "image_std": rm.STD}
PATCHES = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 28 * 28 * 4, "max_pixels": 28 * 28 * 30, "patch_size": 14, "temporal_patch_size": 2,
           "merge_size": 2, "resample": 3}
VIT = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, image_size=56)


def qwen_vl(text, tie=False, **vision):
    return Qwen2_5_VLConfig(text_config={**TEXT, **text}, image_token_id=290, video_token_id=291, vision_start_token_id=292, vision_end_token_id=293,
                            vision_config=dict(hidden_size=16, num_heads=2, intermediate_size=40, out_hidden_size=32, **vision), tie_word_embeddings=tie)


# name: (config, layout, preprocessor, pictures of each case)
ARCHITECTURES = {
    "qwen2": (lambda: Qwen2Config(**TEXT, rope_parameters=ROPE, tie_word_embeddings=True), "hf", None, [[], []]),
    "qwen2_sharded": (lambda: Qwen2Config(**{**TEXT, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 1, "head_dim": 8, "rms_norm_eps": 1e-4},
                                          rope_parameters={**ROPE, "rope_theta": 1e4}), "sharded", None, [[]]),
    "internvl": (lambda: InternVLConfig(text_config=Qwen2Config(**TEXT, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6}), image_token_id=290, image_seq_length=4,
                                        vision_config=InternVLVisionConfig(**VIT, attention_bias=True), tie_word_embeddings=False), "prefixed", TILES, [[], [0], [1, 0]]),
    "internvl_plain": (lambda: InternVLConfig(text_config=Qwen2Config(**TEXT, rope_parameters=ROPE), image_token_id=290, image_seq_length=4, tie_word_embeddings=True,
                                              vision_config=InternVLVisionConfig(**VIT, use_absolute_position_embeddings=False, use_mean_pooling=False, layer_norm_eps=1e-3)), "hf",
                       {**TILES, "max_patches": 1}, [[0]]),
    "internvl_chat": (lambda: InternVLConfig(text_config=Qwen2Config(**TEXT, rope_parameters=ROPE), image_token_id=290, image_seq_length=4, tie_word_embeddings=False,
                                             vision_config=InternVLVisionConfig(**VIT, attention_bias=True)), "original", {**TILES, "max_patches": 1}, [[], ["exact"]]),
    "qwen2_5_vl": (lambda: qwen_vl({"rope_parameters": {**ROPE, "mrope_section": [1, 1, 2]}}, depth=3, window_size=56, fullatt_block_indexes=[1]), "hf", PATCHES, [[], [0], [1, 0]]),
    "qwen2_5_vl_flat": (lambda: qwen_vl({"rope_parameters": {**ROPE, "rope_theta": 5e5, "mrope_section": [2, 3, 3]}, "num_attention_heads": 2, "num_key_value_heads": 1}, tie=True,
                                        depth=2, window_size=112, fullatt_block_indexes=[]), "flat", PATCHES, [[1]]),
}


def encoded(tensor):
    return base64.b64encode(tensor.detach().float().contiguous().numpy().tobytes()).decode()


def least_margin(model, ids, keywords, tokens):
    """By how much the chosen tokens lead: greedy text is a fair test only where that is more than rounding."""
    logits = rm.forward(model, ids + tokens[:-1], keywords)[len(ids) - 1:]
    assert logits.argmax(-1).tolist() == tokens
    two = logits.topk(2, -1).values
    return float((two[:, 0] - two[:, 1]).min())


def architecture(name, out, seed):
    config, layout, processor, cases = ARCHITECTURES[name]
    r, config = random.Random(f"{name} {seed}"), config()
    model = rm.make(config, seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.bfloat16())  # half the bytes hold the same weights
    files = [out / "wide.png", out / "high.png"]
    answer = {"cases": []}
    model.zero_grad()
    for shown in cases:
        images = [rm.picture(56, 56, 5) if i == "exact" else rm.Image.open(files[i]) for i in shown]
        keywords, slots = rm.pictures(config, processor, images)
        ids = rm.prompt(config, r, r.randint(12, 30), slots)
        logits = rm.forward(model, ids, keywords)
        lp = rm.logprobs(logits, ids)
        (-lp.sum()).backward()
        tokens = rm.greedy(model, ids, keywords, 64)
        with torch.no_grad():
            if least_margin(model, ids, keywords, tokens) < 1e-3:
                return None
        answer["cases"].append({"ids": ids, "images": ["exact.png" if i == "exact" else files[i].name for i in shown], "logprobs": [round(float(x), 6) for x in lp],
                                "last_logits": encoded(logits[-1]), "greedy": tokens})
    answer["gradients"] = gradients(model, config.model_type, r)
    directory = out / name
    rm.save(model, directory, layout, processor, torch.bfloat16)
    return answer


def gradients(model, kind, r):
    """Of the summed negative log-probabilities: each tensor's largest magnitude and a few elements."""
    import hf_parity
    out = {}
    for name, p in model.named_parameters():
        if p.grad is None:
            continue
        flat = p.grad.reshape(-1)
        at = sorted(r.sample(range(len(flat)), min(8, len(flat))))
        out[hf_parity.rename(name, kind)] = {"largest": float(flat.abs().max()), "at": at, "values": [float(f"{float(flat[i]):.7g}") for i in at]}
    return out


def architectures(out):
    out.mkdir(parents=True, exist_ok=True)
    rm.picture(50, 90, 1).save(out / "wide.png")
    rm.picture(81, 47, 2).save(out / "high.png")
    rm.picture(56, 56, 5).save(out / "exact.png")
    torch.set_num_threads(1)
    golden = {}
    for name in ARCHITECTURES:
        golden[name] = next(a for a in (architecture(name, out, seed) for seed in range(100)) if a)
    json.dump(golden, open(out / "golden.json", "w"), separators=(",", ":"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", default=str(HERE.parent / "tests/policy/data"))
    p.add_argument("--only", choices=["architectures"])
    a = p.parse_args()
    out = pathlib.Path(a.out)
    architectures(out / "architectures")
    if a.only:
        return
    model_dir = out / "model"
    subprocess.run([sys.executable, HERE / "make_tiny.py", "--out", model_dir, "--tokenizer", HERE.parent / "models/tiny",
                    "--image", "56", "--hidden", "48", "--heads", "3", "--kv-heads", "1", "--mlp", "100", "--layers", "2",
                    "--vit-hidden", "32", "--vit-heads", "2", "--vit-layers", "2"], check=True)
    model = AutoModelForImageTextToText.from_pretrained(model_dir, dtype=torch.float32).eval()
    c, r = model.config, random.Random(5)
    # The picture both sides compute: byte i is (7 i + i // 256) mod 256.
    n = c.vision_config.image_size[0]
    i = np.arange(n * n * 3)
    picture = ((7 * i + i // 256) % 256).astype(np.float32).reshape(n, n, 3) / 255
    picture = (picture - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    pixels = torch.tensor(picture.transpose(2, 0, 1)[None], dtype=torch.float32)
    cases = []
    for length, image in [(2, False), (40, False), (57, True)]:
        ids = [r.choice([k for k in range(c.text_config.vocab_size) if k != c.image_token_id]) for _ in range(length)]
        if image:
            ids[1:1] = [c.image_token_id] * c.image_seq_length
        t = torch.tensor([ids])
        kw = {"pixel_values": pixels} if image else {}
        with torch.no_grad():
            lp = model(input_ids=t, **kw).logits.log_softmax(-1)[0, :-1].gather(1, t[0, 1:, None])[:, 0]
            g = model.generate(input_ids=t, attention_mask=torch.ones_like(t), max_new_tokens=24, do_sample=False, **kw)
        cases.append({"ids": ids, "image": image, "logprobs": [round(float(x), 7) for x in lp], "greedy": g[0, len(ids):].tolist()})
    tok = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    texts = [""] + ["".join(r.choice(WORDS) for _ in range(r.randint(1, 25))) for _ in range(150)]
    ours = [{"text": t, "ids": tok.encode(t, add_special_tokens=False).ids} for t in texts]
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), behavior="isolated"),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    qwen = [{"text": t, "ids": tok.encode(t, add_special_tokens=False).ids} for t in texts]
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    gpt2 = [{"text": t, "ids": tok.encode(t, add_special_tokens=False).ids} for t in texts]
    json.dump({"cases": cases, "qwen_regex": QWEN, "tokenizer": ours, "tokenizer_qwen": qwen, "tokenizer_gpt2": gpt2},
              open(out / "golden.json", "w"), separators=(",", ":"))


if __name__ == "__main__":
    main()
