"""The reward over plain HTTP, without this package: the contract of Curious-VLA's reward server.

    swerve reward --scenes scenes &
    python python/examples/http_reward.py SCENE_ID

What was run: requests of this form against the real service, by tests/python/reward_client_test.py.
"""

import json
import sys
import time
import urllib.error
import urllib.request


def pdms(token: str, poses: list, url: str = "http://127.0.0.1:8901/score", tries: int = 5) -> dict:
    body = json.dumps({"token": token, "poses": poses, "verbose": False}).encode()
    for _ in range(tries):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 429:
                raise RuntimeError(json.load(error)["error"]["message"]) from error
            time.sleep(float(error.headers["Retry-After"]))
    raise RuntimeError("the reward service stayed full")  # never a reward of 0


if __name__ == "__main__":
    print(json.dumps(pdms(sys.argv[1], [[4.0 * i, 0.0, 0.0] for i in range(1, 9)]), indent=2))
