"""`swerve serve policy` driven by OpenAI's own Python client. Exit status 77, with a message, where it is not installed."""
import base64
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

try:
    import openai
except ImportError:
    print("skipped: the Python package openai is not installed")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
PICTURE = open(os.path.join(HERE, "../policy/data/images/wide.png"), "rb").read()
PROMPT = "command move forward. speed 4.5. drive."


def main():
    server = subprocess.Popen([os.environ["SWERVE_BINARY"], "serve", "policy", "--model", os.environ["SWERVE_MODEL"], "--threads", "2"], stdout=subprocess.PIPE, text=True)
    try:
        said = json.loads(server.stdout.readline())
        check(openai.OpenAI(base_url=said["base_url"], api_key="none", max_retries=0), said["model"])
    finally:
        server.terminate()
        assert server.wait(30) == 0, "the server did not end well"
    print("ok, openai", openai.__version__)


def check(client, model):
    assert [m.id for m in client.models.list()] == [model]
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(PICTURE).decode()}}, {"type": "text", "text": PROMPT}]

    def ask(**more):
        return client.chat.completions.create(**{"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 40, **more})

    whole = ask(n=3, seed=5, temperature=1.2, logprobs=True, top_logprobs=2)
    assert [c.index for c in whole.choices] == [0, 1, 2] and len({c.message.content for c in whole.choices}) > 1
    for choice in whole.choices:
        tokens = choice.logprobs.content
        assert b"".join(bytes(t.bytes) for t in tokens).decode(errors="replace") == choice.message.content
        assert all(t.logprob <= 0 and len(t.top_logprobs) == 2 for t in tokens)
        assert choice.finish_reason in ("stop", "length")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    again = ask(n=3, seed=5, temperature=1.2)
    assert [c.message.content for c in again.choices] == [c.message.content for c in whole.choices], "a seed gives the same answers"

    streamed, finish, usage = ["", "", ""], [None] * 3, None
    for chunk in ask(n=3, seed=5, temperature=1.2, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for c in chunk.choices:
            streamed[c.index] += c.delta.content or ""
            finish[c.index] = c.finish_reason or finish[c.index]
    assert streamed == [c.message.content for c in whole.choices]
    assert finish == [c.finish_reason for c in whole.choices] and usage == whole.usage

    greedy = ask(temperature=0).choices[0].message.content
    assert ask(temperature=0, top_p=0.5).choices[0].message.content == greedy
    mark = greedy[len(greedy) // 2:][:3]
    for stream in (False, True):
        cut = ask(temperature=0, stop=[mark], stream=stream)
        text = "".join(c.choices[0].delta.content or "" for c in cut) if stream else cut.choices[0].message.content
        assert text == greedy[:greedy.index(mark)], (text, greedy, mark)
    turns = [{"role": "system", "content": "You drive."}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": PROMPT}]
    assert ask(messages=turns).choices[0].message.role == "assistant"

    with ThreadPoolExecutor(16) as pool:
        alone = [ask(seed=s).choices[0].message.content for s in range(4)]
        assert list(pool.map(lambda i: ask(seed=i % 4).choices[0].message.content, range(32))) == alone * 8, "a batch changes nothing"

    for more, error, field in [({"model": "other"}, openai.NotFoundError, "model"), ({"temperature": 9}, openai.BadRequestError, "temperature"),
                               ({"messages": []}, openai.BadRequestError, "messages"), ({"max_tokens": 100000}, openai.BadRequestError, None)]:
        try:
            ask(**more)
        except error as e:
            assert e.param == field and e.type == "invalid_request_error", e
        else:
            raise AssertionError(f"{more} was not refused")


if __name__ == "__main__":
    main()
