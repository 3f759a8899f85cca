"""Random models of every architecture that Swerve knows, and what transformers computes with them. Used by hf_parity.py
and make_policy_golden.py. Needs transformers 5.23, torch, torchvision, safetensors, pillow, numpy."""
import json
import pathlib
import random

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (AutoModelForCausalLM, AutoModelForImageTextToText, InternVLConfig, InternVLForConditionalGeneration,
                          Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Config, Qwen2ForCausalLM)
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

KINDS = ["qwen2", "internvl", "qwen2_5_vl"]
# Layouts a kind is stored in: as transformers writes it, with its newer in-memory names, the original repository's, and
# for Qwen2.5-VL the older flat config.
LAYOUTS = {"qwen2": ["hf", "sharded"], "internvl": ["hf", "prefixed", "original", "sharded"], "qwen2_5_vl": ["hf", "prefixed", "flat", "sharded"]}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def text_shape(r, even_by_kernels):
    """`even_by_kernels`: sizes that the generation engine's kernels take."""
    heads_per = r.choice([1, 1, 2, 3, 7])
    kv = r.choice([1, 2, 3])
    heads = heads_per * kv
    dim = r.choice([8, 16, 24]) if even_by_kernels else r.choice([6, 8, 10, 16, 20])
    hidden = 16 * r.randint(2, 5) if even_by_kernels else heads * dim
    shape = dict(vocab_size=r.randint(200, 700), hidden_size=hidden, intermediate_size=r.randint(20, 150), num_hidden_layers=r.randint(1, 5),
                 num_attention_heads=heads, num_key_value_heads=kv, max_position_embeddings=r.choice([2048, 32768]),
                 rms_norm_eps=r.choice([1e-6, 1e-5, 1e-3]), eos_token_id=r.choice([5, [5, 6]]), bos_token_id=1)
    if heads * dim != hidden or r.random() < 0.5:
        shape["head_dim"] = dim
    return shape, dim


def random_config(kind, r, kernels=True, small=False):
    shape, dim = text_shape(r, kernels)
    if small:
        shape.update(vocab_size=320, num_hidden_layers=2, intermediate_size=min(96, shape["intermediate_size"]))
    theta = r.choice([1e4, 1e6, 5e5])
    tied = r.random() < 0.5
    if kind == "qwen2":
        return Qwen2Config(**shape, rope_parameters={"rope_type": "default", "rope_theta": theta}, tie_word_embeddings=tied)
    special = shape["vocab_size"] - 6
    vit_heads = r.choice([1, 2, 3])
    if kind == "internvl":
        vit_dim = r.choice([16, 32]) if kernels else r.choice([4, 6, 10])
        side = 14 * r.choice([2, 4, 6])
        vision = InternVLVisionConfig(hidden_size=vit_heads * vit_dim, num_attention_heads=vit_heads, num_hidden_layers=r.randint(1, 4), intermediate_size=r.randint(20, 90),
                                      image_size=side, attention_bias=r.random() < 0.5, layer_norm_eps=r.choice([1e-6, 1e-3]),
                                      use_absolute_position_embeddings=r.random() < 0.7, layer_scale_init_value=r.choice([0.1, 1.0]), use_mean_pooling=r.random() < 0.7)
        text = Qwen2Config(**shape, rope_parameters=r.choice([{"rope_type": "default", "rope_theta": theta}, {"rope_type": "dynamic", "factor": 2.0, "rope_theta": theta}]),
                           tie_word_embeddings=tied)
        return InternVLConfig(text_config=text, vision_config=vision, image_token_id=special, image_seq_length=(side // 28)**2, tie_word_embeddings=tied)
    # Qwen2.5-VL wants heads that fill hidden_size and sections that fill half a head.
    shape.pop("head_dim", None)
    if kernels:
        dim = r.choice([16, 32])
        shape.update(num_attention_heads=2 * shape["num_key_value_heads"], hidden_size=2 * shape["num_key_value_heads"] * dim)
    else:
        shape["hidden_size"] = shape["num_attention_heads"] * dim
    first = r.randint(0, dim // 4)
    rest = dim // 2 - first
    vit_dim = r.choice([16, 24]) if kernels else r.choice([4, 12, 20])
    vit_heads = 2 if kernels else vit_heads
    depth = r.randint(1, 4)
    vision = dict(depth=depth, hidden_size=vit_heads * vit_dim, num_heads=vit_heads, intermediate_size=r.randint(20, 90), out_hidden_size=shape["hidden_size"],
                  window_size=r.choice([28, 56, 112, 140]), fullatt_block_indexes=sorted(r.sample(range(depth), r.randint(0, depth))))
    return Qwen2_5_VLConfig(text_config=dict(**shape, rope_parameters={"rope_type": "default", "rope_theta": theta, "mrope_section": [first, rest // 2, rest - rest // 2]}),
                            vision_config=vision, image_token_id=special, video_token_id=special + 1, vision_start_token_id=special + 2, vision_end_token_id=special + 3,
                            tie_word_embeddings=tied)


def make(config, seed):
    """A model whose norms and biases are not 1 and 0, whose layer scales count and whose logits are not flat."""
    torch.manual_seed(seed)
    cls = {"qwen2": Qwen2ForCausalLM, "internvl": InternVLForConditionalGeneration, "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration}[config.model_type]
    model = cls(config).float().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
            elif "position_embeddings" in name or "cls_token" in name:
                p.normal_(0, 0.3)
            else:
                p.normal_(0, 3.0 * 0.02 if "embed_tokens" in name or "lm_head" in name else 0.6 / p[0].numel()**0.5)
        if model.get_output_embeddings().weight is not model.get_input_embeddings().weight:
            model.get_output_embeddings().weight.mul_(4)
        else:
            model.get_input_embeddings().weight.mul_(4)
    return model


def image_processor(config, r):
    """What preprocessor_config.json says."""
    if config.model_type == "internvl":
        side = config.vision_config.image_size[0]
        return {"image_processor_type": "GotOcr2ImageProcessorFast", "size": {"height": side, "width": side}, "crop_to_patches": True, "min_patches": 1,
                "max_patches": r.choice([1, 4, 6]), "resample": 3, "do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": MEAN, "image_std": STD}
    if config.model_type == "qwen2_5_vl":
        return {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 28 * 28 * r.choice([4, 16]), "max_pixels": 28 * 28 * r.choice([24, 60]), "patch_size": 14,
                "temporal_patch_size": 2, "merge_size": 2, "resample": 3}
    return None


def to_original(tensors):
    """The names of the original InternVL repository, qkv fused."""
    out, names = {}, [("vision_tower.embeddings.cls_token", "vision_model.embeddings.class_embedding"), ("vision_tower.embeddings.position_embeddings", "vision_model.embeddings.position_embedding"),
                      ("vision_tower.embeddings.patch_embeddings.projection", "vision_model.embeddings.patch_embedding"), ("vision_tower.encoder.layer.", "vision_model.encoder.layers."),
                      ("attention.projection_layer", "attn.proj"), ("layernorm_before", "norm1"), ("layernorm_after", "norm2"), ("lambda_1", "ls1"), ("lambda_2", "ls2"),
                      ("multi_modal_projector.layer_norm", "mlp1.0"), ("multi_modal_projector.linear_1", "mlp1.1"), ("multi_modal_projector.linear_2", "mlp1.3")]
    for k, v in tensors.items():
        if "attention.k_proj" in k or "attention.v_proj" in k:
            if "vision_tower" in k:
                continue
        if "vision_tower" in k and "attention.q_proj" in k:
            v = torch.cat([tensors[k.replace("q_proj", x)] for x in ("q_proj", "k_proj", "v_proj")])
            k = k.replace("attention.q_proj", "attn.qkv")
        for a, b in names:
            k = k.replace(a, b)
        out["language_model.lm_head.weight" if k == "lm_head.weight" else k] = v.contiguous()
    return out


def prefixed(kind, tensors):
    def name(k):
        if "lm_head" in k:
            return "lm_head.weight"
        if kind == "internvl":
            return k.replace("language_model.model.", "model.language_model.") if k.startswith("language_model") else "model." + k
        return "model." + k if k.startswith("visual.") else k.replace("model.", "model.language_model.", 1)
    return {name(k): v for k, v in tensors.items()}


def save(model, directory, layout, processor, dtype=torch.float32):
    directory = pathlib.Path(directory)
    kind = model.config.model_type
    model.to(dtype).save_pretrained(directory, **({"max_shard_size": "40KB"} if layout == "sharded" else {}))
    if processor:
        (directory / "preprocessor_config.json").write_text(json.dumps(processor))
    weights, config = directory / "model.safetensors", directory / "config.json"
    c = json.loads(config.read_text())
    if layout == "prefixed":
        save_file(prefixed(kind, load_file(weights)), weights, {"format": "pt"})
    elif layout == "original":
        save_file(to_original(load_file(weights)), weights, {"format": "pt"})
        v, t = c["vision_config"], c["text_config"]
        rope = t.pop("rope_parameters")
        scaling = {"type": rope["rope_type"], "factor": rope["factor"]} if rope["rope_type"] != "default" else None
        config.write_text(json.dumps({
            "model_type": "internvl_chat", "architectures": ["InternVLChatModel"], "template": "internvl2_5", "downsample_ratio": 0.5, "ps_version": "v2", "select_layer": -1,
            "force_image_size": v["image_size"][0], "dynamic_image_size": processor["max_patches"] > 1, "use_thumbnail": True, "min_dynamic_patch": 1, "max_dynamic_patch": processor["max_patches"],
            "tie_word_embeddings": c["tie_word_embeddings"], "img_context_token_id": c["image_token_id"],
            "llm_config": {**t, "architectures": ["Qwen2ForCausalLM"], "rope_theta": rope["rope_theta"], "rope_scaling": scaling, "tie_word_embeddings": c["tie_word_embeddings"]},
            "vision_config": {"architectures": ["InternVisionModel"], "model_type": "intern_vit_6b", "hidden_size": v["hidden_size"], "num_hidden_layers": v["num_hidden_layers"],
                              "num_attention_heads": v["num_attention_heads"], "intermediate_size": v["intermediate_size"], "layer_norm_eps": v["layer_norm_eps"], "norm_type": "layer_norm",
                              "qk_normalization": False, "qkv_bias": v["attention_bias"], "initializer_factor": 1.0, "image_size": v["image_size"][0], "patch_size": 14,
                              "use_absolute_position_embeddings": v["use_absolute_position_embeddings"], "use_mean_pooling": v["use_mean_pooling"]}}))
    elif layout == "flat":
        t = c.pop("text_config")
        rope = t.pop("rope_parameters")
        t.pop("model_type"), t.pop("layer_types", None)
        config.write_text(json.dumps({**t, **c, "rope_theta": rope["rope_theta"], "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]}}))
    return directory


def load(directory, kind, dtype=torch.float32):
    cls = AutoModelForCausalLM if kind == "qwen2" else AutoModelForImageTextToText
    return cls.from_pretrained(directory, dtype=dtype).eval()


def pictures(config, processor, images):
    """Keyword arguments of the model for these PIL images, and how many placeholders each takes."""
    if not images:
        return {}, []
    if config.model_type == "internvl":
        out = GotOcr2ImageProcessor(**{k: v for k, v in processor.items() if k != "image_processor_type"})(images, return_tensors="pt")
        cells = (config.vision_config.image_size[0] // 28)**2
        return {"pixel_values": out["pixel_values"]}, [int(n) * cells for n in out["num_patches"]]
    out = Qwen2VLImageProcessor(**{k: v for k, v in processor.items() if k != "image_processor_type"})(images, return_tensors="pt")
    return {"pixel_values": out["pixel_values"], "image_grid_thw": out["image_grid_thw"]}, (out["image_grid_thw"].prod(-1) // 4).tolist()


def picture(height, width, seed):
    y, x = np.mgrid[0:height, 0:width].astype(float)
    wave = [128 + 90 * np.sin(x / (3 + c + seed % 3) + y / (11 - 2 * c)) for c in range(3)]
    return Image.fromarray(np.clip(np.stack(wave, -1) + np.random.default_rng(seed).normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8))


def prompt(config, r, length, slots):
    """Random ids with runs of placeholders at random places, never side by side, never last."""
    text = config if config.model_type == "qwen2" else config.text_config
    taken = [getattr(config, k) for k in ("image_token_id", "video_token_id") if hasattr(config, k)]
    ids = [r.choice([i for i in range(text.vocab_size) if i not in taken]) for _ in range(length)]
    for at, n in sorted(zip(r.sample(range(length), len(slots)), slots), reverse=True):
        ids[at:at] = [("slots", n)]
    flat, runs = [], iter(slots)
    for i in ids:
        flat += [config.image_token_id] * next(runs) if isinstance(i, tuple) else [i]
    return flat


def forward(model, ids, keywords):
    t = torch.tensor([ids])
    if "image_grid_thw" in keywords:
        keywords = {**keywords, "mm_token_type_ids": (t == model.config.image_token_id).int()}
    return model(input_ids=t, **keywords).logits[0]


def greedy(model, ids, keywords, count):
    t = torch.tensor([ids])
    if "image_grid_thw" in keywords:
        keywords = {**keywords, "mm_token_type_ids": (t == model.config.image_token_id).int()}
    with torch.no_grad():
        return model.generate(input_ids=t, attention_mask=torch.ones_like(t), max_new_tokens=count, do_sample=False, pad_token_id=0, **keywords)[0, len(ids):].tolist()


def logprobs(logits, ids):
    return logits.float().log_softmax(-1)[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0]
