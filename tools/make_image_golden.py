#!/usr/bin/env python3
"""Writes tests/policy/data/images/: small pictures, configurations of a model directory, and what transformers makes of them.

    python3 tools/make_image_golden.py [OUT]     needs transformers 5.23, torchvision, pillow, numpy

Pixels are stored as bytes before normalisation (base64), the normalised values as a few samples.
"""
import base64
import json
import os
import sys
import tempfile

import numpy as np
from PIL import Image
from transformers import AutoImageProcessor
from transformers.image_utils import load_image
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../tests/policy/data/images")
rng = np.random.default_rng(7)


def picture(height, width):
    y, x = np.mgrid[0:height, 0:width].astype(float)
    wave = [128 + 100 * np.sin(x / (3 + c) + y / (11 - 2 * c)) for c in range(3)]
    return np.clip(np.stack(wave, -1) + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def write_pictures():
    rgb = Image.fromarray(picture(50, 90))
    rgb.save(f"{OUT}/wide.png")
    Image.fromarray(picture(97, 31)).save(f"{OUT}/tall.jpg", quality=88)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(40, 61)).save(f"{OUT}/turned.jpg", quality=90, subsampling=0, exif=exif)
    Image.fromarray(picture(33, 33)).save(f"{OUT}/progressive.jpg", progressive=True)
    rgb.convert("L").save(f"{OUT}/grey.jpg")
    rgb.convert("CMYK").save(f"{OUT}/cmyk.jpg")
    rgb.convert("P").save(f"{OUT}/palette.png")
    alpha = np.concatenate([picture(24, 60), rng.integers(0, 256, (24, 60, 1), dtype=np.uint8)], -1)
    Image.fromarray(alpha, "RGBA").save(f"{OUT}/alpha.png")
    Image.fromarray(picture(20, 20)[..., 0]).convert("LA").save(f"{OUT}/grey_alpha.png")


MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TILES = {"image_processor_type": "GotOcr2ImageProcessorFast", "size": {"height": 28, "width": 28}, "crop_to_patches": True,
         "min_patches": 1, "max_patches": 6, "resample": 3, "image_mean": MEAN, "image_std": STD}
INTERNVL = {"model_type": "internvl", "image_seq_length": 1, "vision_config": {"image_size": [28, 28], "patch_size": [14, 14]}}
PATCHES = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14,
           "temporal_patch_size": 2, "merge_size": 2, "resample": 3}
QWEN = {"model_type": "qwen2_5_vl", "vision_config": {"patch_size": 14, "spatial_merge_size": 2}}
DIRECTORIES = {
    "tiles": {"config.json": INTERNVL, "preprocessor_config.json": TILES},
    "tiles_nested": {"config.json": INTERNVL, "processor_config.json": {"processor_class": "InternVLProcessor", "image_processor": {**TILES, "max_patches": 3, "min_patches": 2}}},
    "patches": {"config.json": QWEN, "preprocessor_config.json": PATCHES},
    "patches_small": {"config.json": QWEN, "preprocessor_config.json": {**PATCHES, "min_pixels": 784, "max_pixels": 2352}},
    "patches_size": {"config.json": QWEN, "processor_config.json": {"image_processor": {"image_processor_type": "Qwen2VLImageProcessor", "size": {"shortest_edge": 784, "longest_edge": 4704}}}},
    "patches_default": {"config.json": QWEN},
    "original": {"config.json": {"model_type": "internvl_chat", "force_image_size": 28, "dynamic_image_size": True, "use_thumbnail": True, "min_dynamic_patch": 1,
                                 "max_dynamic_patch": 6, "vision_config": {"patch_size": 14}},
                 "preprocessor_config.json": {"crop_size": 448, "do_center_crop": True, "do_normalize": True, "do_resize": True,
                                              "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": MEAN, "image_std": STD, "resample": 3, "size": 448}},
}


def original(image, side, most):
    """The tiling of the original InternVL repository, restated: Pillow's bicubic, thumbnail last."""
    w, h = image.size
    grids = sorted({(i, n // i) for n in range(1, most + 1) for i in range(1, n + 1) if n % i == 0}, key=lambda g: (g[0] * g[1], g[0]))
    best, pick = float("inf"), (1, 1)
    for g in grids:
        diff = abs(w / h - g[0] / g[1])
        if diff < best or (diff == best and w * h > 0.5 * side * side * g[0] * g[1]):
            pick = g
        best = min(best, diff)
    big = image.resize((side * pick[0], side * pick[1]), Image.BICUBIC)
    tiles = [big.crop((c * side, r * side, (c + 1) * side, (r + 1) * side)) for r in range(pick[1]) for c in range(pick[0])]
    if len(tiles) > 1:
        tiles.append(image.resize((side, side), Image.BICUBIC))
    raw = np.stack([np.asarray(t, np.float32).transpose(2, 0, 1) for t in tiles])
    return (raw / 255 - np.array(MEAN, np.float32)[:, None, None]) / np.array(STD, np.float32)[:, None, None]


def process(name, image):
    files = DIRECTORIES[name]
    if name == "original":
        return original(image, 28, 6), None, MEAN, STD
    with tempfile.TemporaryDirectory() as d:
        for f, content in files.items():
            json.dump(content, open(f"{d}/{f}", "w"))
        processor = Qwen2VLImageProcessor() if name == "patches_default" else AutoImageProcessor.from_pretrained(d)
    assert type(processor) in (GotOcr2ImageProcessor, Qwen2VLImageProcessor), type(processor)
    out = processor(image, return_tensors="pt")
    grid = out["image_grid_thw"][0].tolist() if "image_grid_thw" in out else None
    return out["pixel_values"].numpy(), grid, processor.image_mean, processor.image_std


def main():
    os.makedirs(OUT, exist_ok=True)
    write_pictures()
    cases = []
    for name in DIRECTORIES:
        for file in sorted(os.listdir(OUT)):
            if file.endswith(".json") or (name != "tiles" and file not in ("wide.png", "tall.jpg", "turned.jpg")):
                continue
            image = load_image(f"{OUT}/{file}")
            values, grid, mean, std = process(name, image)
            # channel of each value: [tiles, 3, S, S] or [patches, 3 * temporal * patch * patch]
            m, s = (np.array(v, np.float64).reshape(3, 1) for v in (mean, std))
            flat = values.reshape(len(values), 3, -1)
            raw = np.rint((flat * s + m) * 255)
            assert raw.min() >= 0 and raw.max() <= 255
            at = rng.integers(0, values.size, 16).tolist()
            cases.append({"directory": name, "file": file, "size": [image.height, image.width], "grid": grid, "shape": list(values.shape), "mean": list(mean), "std": list(std),
                          "bytes": base64.b64encode(raw.astype(np.uint8).tobytes()).decode(), "samples": [[i, float(values.reshape(-1)[i])] for i in at]})
    json.dump({"directories": DIRECTORIES, "cases": cases}, open(f"{OUT}/golden.json", "w"), separators=(",", ":"))
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
