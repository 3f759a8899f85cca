#!/usr/bin/env python3
"""Makes models/tiny: an InternVL3 of about 1.6 million parameters with random weights, in the layout `transformers` writes.

    python tools/make_tiny.py --out models/tiny [--texts corpus.txt] [--seed 0]

--texts: one text a line (prompts and responses, `\\n` escaped), what the byte-level BPE is trained on: models/tiny is
made from `swerve scenes generate --count 400 --mix uniform --seed 77 --out S; swerve sft-texts --scenes S --examples 4000
--out corpus.txt`. Without it a small corpus is synthesised. Needs: transformers torch numpy tokenizers.
"""
import argparse
import json
import pathlib
import random

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (GenerationConfig, InternVLConfig, InternVLForConditionalGeneration, InternVLProcessor,
                          PreTrainedTokenizerFast, Qwen2Config)
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"]
PLAIN = ["<think>", "</think>", "<answer>", "</answer>"]
# Few tokens a number, few tokens a phrase: sign, integer part and dot are one piece, decimals another, runs of
# brackets and commas a third; text is split at sentences and clauses, not at words, so that BPE may join whole phrases.
SPLIT = r"-?\d+\.|\d{1,3}|[\[\](),:;]+ ?|\n+|[^\d\-\[\](),:;\n.]+\.?|\.+|-"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<IMG_CONTEXT>\n"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def numbers():
    for i in range(0, 131):
        yield f"{i}."
    for i in range(0, 61):
        yield f"-{i}."
    for i in range(0, 101):
        yield f"{i}"
    for i in range(0, 10):
        yield f"0{i}"


def synthetic(seed):
    """Lines in the manner of scenes/prompt.cc, for a tokenizer without `swerve sft-texts`."""
    r = random.Random(seed)
    kinds = ["vehicle", "pedestrian", "bicycle", "traffic_cone", "barrier", "car", "truck", "bus", "cyclist"]
    longitudinal = ["accelerate", "decelerate", "maintain", "stop"]
    lateral = ["keep", "turn left", "turn right", "change left", "change right"]
    for _ in range(4000):
        x = lambda a, b, d: f"{r.uniform(a, b):.{d}f}"
        yield (f"command: {r.choice(['left', 'straight', 'right', 'unknown'])}\nvelocity: {x(0, 20, 1)},{x(-1, 1, 1)}\n"
               f"acceleration: {x(-3, 3, 1)},{x(-1, 1, 1)}\nhistory: [{x(-20, 0, 1)},{x(-2, 2, 1)},{x(-1, 1, 2)}]")
        k = r.choice(kinds)
        yield (f"<think>the lead vehicle is a {k} {x(2, 60, 1)} m ahead at {x(0, 20, 1)} m/s. "
               f"a {r.choice(kinds)} {x(2, 40, 1)} m {r.choice(['to the left', 'to the right', 'ahead'])} may merge. "
               f"{r.choice(['no interaction', 'yield to the crossing pedestrian', 'keep the gap to the lead vehicle'])}. "
               f"plan: {r.choice(longitudinal)}, {r.choice(lateral)}.</think>")
        yield "<answer>" + ",".join(f"[{x(0, 70, 1)},{x(-20, 20, 1)},{x(-2, 2, 2)}]" for _ in range(8)) + "</answer>"


def make_tokenizer(lines, vocabulary):
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    # Numbers come first whatever the corpus holds: each weighs as much as the whole of it.
    weight = max(20, len(lines) // 4)
    corpus = [n for n in numbers() for _ in range(weight)]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary - len(SPECIAL) - len(PLAIN), special_tokens=[],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
                                  max_token_length=24, min_frequency=2)
    def pieces():
        for line in lines:
            for plain in PLAIN + SPECIAL:  # these are cut out before the BPE sees the text
                line = line.replace(plain, "\0")
            yield from (p for p in line.split("\0") if p)
    import itertools
    tok.train_from_iterator(itertools.chain(corpus, pieces()), trainer)
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tok.add_tokens([AddedToken(t, special=False, normalized=False) for t in PLAIN])
    for n in numbers():
        assert len(tok.encode(n).ids) == 1, n
    return tok


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", required=True)
    p.add_argument("--texts")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--vocabulary", type=int, default=1024)
    p.add_argument("--image", type=int, default=112)
    p.add_argument("--hidden", type=int, default=128)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--kv-heads", type=int, default=2)
    p.add_argument("--mlp", type=int, default=384)
    p.add_argument("--vit-hidden", type=int, default=128)
    p.add_argument("--vit-layers", type=int, default=3)
    p.add_argument("--vit-heads", type=int, default=4)
    p.add_argument("--untied", action="store_true")
    p.add_argument("--tokenizer", help="keep the tokenizer.json of this directory")
    a = p.parse_args()
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    if a.tokenizer:
        tok = Tokenizer.from_file(str(pathlib.Path(a.tokenizer) / "tokenizer.json"))
    else:
        lines = ([l.rstrip("\n").replace("\\n", "\n") for l in open(a.texts, encoding="utf-8")] if a.texts
                 else list(synthetic(a.seed)))
        tok = make_tokenizer(lines, a.vocabulary)
    rows = -(-tok.get_vocab_size() // 16) * 16
    ident = tok.token_to_id
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tok, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE,
        extra_special_tokens={"start_image_token": "<img>", "end_image_token": "</img>",
                              "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"},
        model_max_length=2048, padding_side="left", clean_up_tokenization_spaces=False)
    text = Qwen2Config(vocab_size=rows, hidden_size=a.hidden, intermediate_size=a.mlp, num_hidden_layers=a.layers,
                       num_attention_heads=a.heads, num_key_value_heads=a.kv_heads, max_position_embeddings=2048,
                       rms_norm_eps=1e-6, tie_word_embeddings=not a.untied, bos_token_id=None,
                       eos_token_id=ident("<|im_end|>"), pad_token_id=ident("<|endoftext|>"),
                       rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})
    vision = InternVLVisionConfig(hidden_size=a.vit_hidden, num_hidden_layers=a.vit_layers,
                                  num_attention_heads=a.vit_heads, intermediate_size=3 * a.vit_hidden,
                                  attention_bias=True, image_size=[a.image, a.image], patch_size=[14, 14])
    n_image = (a.image // 28) ** 2
    config = InternVLConfig(vision_config=vision.to_dict(), text_config=text.to_dict(),
                            image_token_id=ident("<IMG_CONTEXT>"), image_seq_length=n_image,
                            tie_word_embeddings=not a.untied)
    torch.manual_seed(a.seed)
    model = InternVLForConditionalGeneration(config).float().eval()
    with torch.no_grad():
        # N(0, 0.02) suits widths near a thousand. At a width of 128 variance-preserving matrices train several times
        # faster; what writes into the residual stream is damped by depth.
        for name, p in model.named_parameters():
            if p.dim() > 1 and "embed_tokens" not in name and "embeddings.cls" not in name and "position_emb" not in name:
                fan_in = p[0].numel()
                layers = a.vit_layers if "vision" in name else a.layers
                damped = any(k in name for k in ("o_proj", "down_proj", "projection_layer", "fc2"))
                p.normal_(0, fan_in ** -0.5 / ((2 * layers) ** 0.5 if damped else 1.0))
        # Position embeddings start at zero in transformers; patches are of size one: where they are must be heard beside them.
        emb = model.model.vision_tower.embeddings
        emb.position_embeddings.normal_(0, 0.2)
        emb.cls_token.normal_(0, 0.02)
        # Layer scale 0.1 suits the 24-layer tower this shape comes from; three layers need the full branch.
        for layer in model.model.vision_tower.encoder.layer:
            layer.lambda_1.fill_(1.0)
            layer.lambda_2.fill_(1.0)
    model.generation_config = GenerationConfig(eos_token_id=ident("<|im_end|>"), pad_token_id=ident("<|endoftext|>"),
                                               do_sample=True, temperature=1.0, max_new_tokens=256)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    json.dump({"additional_special_tokens": SPECIAL[3:], "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
              open(out / "special_tokens_map.json", "w"), indent=2)
    image = {"image_processor_type": "GotOcr2ImageProcessor", "size": {"height": a.image, "width": a.image},
             "do_resize": True, "crop_to_patches": False, "min_patches": 1, "max_patches": 1, "resample": 3,
             "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "do_convert_rgb": True,
             "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
             "processor_class": "InternVLProcessor"}
    json.dump(image, open(out / "preprocessor_config.json", "w"), indent=2)
    json.dump({"processor_class": "InternVLProcessor", "image_seq_length": n_image},
              open(out / "processor_config.json", "w"), indent=2)
    print(f"{sum(q.numel() for q in model.parameters()):,} parameters, vocabulary {tok.get_vocab_size()}, {n_image} image tokens")


if __name__ == "__main__":
    main()
