"""Text of a response to its trajectory: Swerve's codec pose3_text, as policy/codec.h defines it."""

from __future__ import annotations

import math
import re
from typing import List, Tuple

from swerve.groups import Candidate

_NUMBER = r"(-?[0-9]+(?:\.[0-9]+)?)"
_STRICT_POSE = rf"\[{_NUMBER},{_NUMBER},{_NUMBER}\]"
_STRICT = re.compile(rf"{_STRICT_POSE}(?:,{_STRICT_POSE}){{7}}\Z")
_SKIP = r"[\s+]*"
_LOOSE = re.compile(
    rf"[\[(]{_SKIP}{_NUMBER}{_SKIP}[,;]{_SKIP}{_NUMBER}{_SKIP}[,;]{_SKIP}{_NUMBER}{_SKIP}[\])]", re.ASCII
)
_POSE = re.compile(_STRICT_POSE)
_END = "<|im_end|>"
_SPACE = " \t\n\v\f\r"


def _triples(pattern: "re.Pattern[str]", body: str) -> List[Tuple[float, ...]]:
    found = []
    for match in pattern.finditer(body):
        values = tuple(float(v) for v in match.groups())
        if all(math.isfinite(v) for v in values):
            found.append(values)
        if len(found) == 8:
            break
    return found


def parse_pose3(text: str) -> Candidate:
    """`<answer>[x,y,heading],…×8</answer>` → Candidate with parse EXACT, REPAIRED or FAILED. Never raises.

    EXACT: one answer section, last in the response, as written. REPAIRED: eight triples could be found in the last
    answer section (without one: after the think section) whatever stands between them. FAILED: anything else.
    """
    whole = text
    text = text.rstrip(_SPACE)
    if text.endswith(_END):
        text = text[: -len(_END)].rstrip(_SPACE)
    body = text
    opened = text.rfind("<answer>")
    if opened >= 0:
        body, closed, after = text[opened + len("<answer>") :].partition("</answer>")
        if closed and not after and text.find("<answer>") == opened and _STRICT.match(body):
            poses = _triples(_POSE, body)
            if len(poses) == 8:
                return Candidate(poses, whole, "EXACT")
    elif "</think>" in text:
        body = text.rpartition("</think>")[2]
    poses = _triples(_LOOSE, body)
    return Candidate(poses, whole, "REPAIRED") if len(poses) == 8 else Candidate((), whole, "FAILED")
