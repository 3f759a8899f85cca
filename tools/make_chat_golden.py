#!/usr/bin/env python3
"""Writes tests/policy/data/chat_golden.json: chat templates and what transformers makes of conversations with them.

    python tools/make_chat_golden.py          (wants transformers and Jinja2; no weights)

The templates are written here; they do what those of the released checkpoints do. A picture's placeholder is left out of the
expected text, InternVL's with the marks around it that its processor adds.
"""
import json
import pathlib

from transformers.utils.chat_template_utils import render_jinja_template

TURN = "<|im_start|>{{ m['role'] }}\n%s<|im_end|>\n"
BODY = "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for p in m['content'] %}{% if p['type'] == 'image' %}%s{% elif p['type'] == 'text' %}{{ p['text'] }}{% endif %}{% endfor %}{% endif %}"
END = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TEMPLATES = {
    "internvl": ("internvl", "{% for m in messages %}" + TURN.replace("%s", BODY.replace("%s", "<IMG_CONTEXT>\n")) + "{% endfor %}" + END),
    "qwen2_5_vl": ("qwen2_5_vl", "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}" +
                   TURN.replace("%s", BODY.replace("%s", "<|vision_start|><|image_pad|><|vision_end|>")) + "{% endfor %}" + END),
    "qwen2": ("qwen2", "{%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}{%- else %}"
              "{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}{%- endif %}"
              "{%- for m in messages %}{%- if not loop.first or m['role'] != 'system' %}{{- '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
              "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"),
    "plain": ("qwen2", "{% for m in messages %}" + TURN.replace("%s", "{{ m['content'] }}") + "{% endfor %}" + END),
}
TEXTS = ["speed 4.5. drive.", "  two\n\nlines ", "Größe 日本"]


def main():
    cases = []
    for name, (kind, template) in TEMPLATES.items():
        for text in TEXTS:
            for picture in (False, True):
                if picture and kind == "qwen2":
                    continue
                content = [{"type": "image"}, {"type": "text", "text": text}] if picture else text
                rendered = render_jinja_template(conversations=[[{"role": "user", "content": content}]], chat_template=template, add_generation_prompt=True)[0][0]
                rendered = rendered.replace("<IMG_CONTEXT>", "<img></img>").replace("<|image_pad|>", "")
                cases.append({"name": name, "model_type": kind, "template": template, "text": text, "picture": picture, "prompt": rendered})
    out = pathlib.Path(__file__).resolve().parent.parent / "tests/policy/data/chat_golden.json"
    out.write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")
    print(len(cases), "cases in", out.name)


if __name__ == "__main__":
    main()
