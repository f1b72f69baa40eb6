"""This file turns valid bytes, texts and trees into broken ones. Every choice comes from the caller's generator."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

MOST = 3_000_000  # no input grows beyond this [bytes]

CANONICAL = ("m", "s", "rad", "m/s", "1/s", "kg", "N", "rad/s", "N m")  # units that keys ask for
NUMBERS = (
    "0", "-0", "1", "-1", "2", "1e999", "-1e999", "1e308", "1e-320", "4e-324", "nan", ".nan", "inf", "-.inf", ".inf",
    "Infinity", "NaN", "1_000", "0x10", "010", "+5", "1e", "1.", ".5", "1e5", "1e-9", "2147483648", "4294967296",
    "-9223372036854775809", "18446744073709551616", "9" * 400, "0." + "0" * 400 + "1", "1e-400", "٣", "½", "1,5",
    "1e+999999", "true", "100", "99.99", "1000000", "1e6", "1e15",
)  # fmt: skip
WORDS = (
    "", " ", "~", "null", "true", "on", "x", "nan", "robotctl:", "kitchen", "cup", "walk", "stand", "dish", "sharp",
    "x" * 5000, "é" * 70, "\u202e", "\u2028", "\x85", "\ufeff", "\x00", "\x07", "\x1b[2J", "\ud800", "\U0010ffff",
    "💥", "a\nb", "a\rb", "a\x0bb", "a\u2029b", "'", '"', "\\", "%s", "{0}", "[bold]", "[/]", "#", ":", "- ", "? ",
    "| ", "> ", "a b", "1 m", "0 0 m", "0 0 0 m", "1 km", "1 parsec", "1 m^4", "1 m/s/s/s", "1 1/s", "5", "m",
    "1e300 km", "1 m m",
)  # fmt: skip
PATHS = (
    "/etc/passwd", "../../../../../../etc/passwd", "~/x", "robotctl:../../../etc/passwd", "robotctl:", ".", "..",
    "/", "file:///etc/passwd", "C:\\x", "a\x00b", "./././scene.yaml", "x" * 300 + ".yaml", "/dev/zero", "/dev/stdin",
    "/proc/self/mem", "../assets/kinds.yaml", "../assets/cup.urdf", "../scene.yaml", "cup.urdf", "meshes/cup_1.obj",
    "../motions/guest.npz", "../motions/guest.bvh", "/etc/x.npz", "../../../../../etc/x.bvh", "/dev/zero.npz",
    "robotctl:guardrails/household.yaml", "robotctl:assets/kinds.yaml", "../kitchen", "\u2044etc",
)  # fmt: skip
YAML = (
    "&a ", "*a", "!!python/object/apply:os.system [ls]", "!t ", "---\n", "...\n", "%YAML 1.1\n", "<<: *a", "[", "]",
    "{", "}", ": ", "- ", "? ", ", ", "# ", "\t", "|\n", ">-\n", "'", '"', "\n", "  ", "&a [*a]", "&x {k: *x}", "@",
    "`",
)  # fmt: skip
XML = (
    "<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "&#0;", "&#x110000;", "<![CDATA[x]]>",
    "<?xml version='1.0' encoding='utf-16'?>", "<!--", "-->", "<link/>", "<link name='a'/>", "<joint/>", "</robot>",
    "<robot>", "<mesh filename='/etc/passwd'/>", "<mesh filename='../../../../etc/passwd.obj'/>", "<mesh/>",
    "<inertial/>", "xmlns:a='b' ", "a:b", "<", ">", "'", '"', "/>",
)  # fmt: skip
OBJ = (
    "f 1 2 3\n", "f 1//1 2 3\n", "f -1 -2 -3\n", "f 0 0 0\n", "f 999999999 1 2\n", "f 1/1/1/1 2 3\n", "v 1 2\n",
    "v nan 0 0\n", "v 1 2 3 4 5 6 7\n", "vn 0 0\n", "vt\n", "mtllib ../../../etc/passwd\n", "mtllib palette.mtl\n",
    "usemtl\n", "call x\n", "f\n", "f 1 2\n", "f " + "1 " * 70 + "\n", "o\n", "\\\n", "#", "/", "//",
)  # fmt: skip
BVH = (
    "HIERARCHY\n", "ROOT a\n", "JOINT a\n", "End Site\n", "{", "}", "OFFSET 0 0 0\n", "OFFSET\n",
    "CHANNELS 3 a b c\n", "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n", "CHANNELS 0\n",
    "CHANNELS 999999999\n", "MOTION\n", "Frames: 999999999\n", "Frames: 0\n", "Frames: -1\n", "Frames: 2\n",
    "Frame Time: 0\n", "Frame Time: 1e308\n", "Frame Time: .033\n", "LeftArm", "RightArm", "LeftHand", "Hips",
)  # fmt: skip
JSON = (
    "[", "]", "{", "}", ",", ":", '"', "null", "NaN", "-Infinity", "1e999", '"\\ud800"', '"\\u0000"', "[[", "{}",
    "[]", '"id": 1,', '"id": "a\\nb",', '"goal_q": [],', "//x", "\\",
)  # fmt: skip


def mutate_bytes(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One to six random changes."""
    for _ in range(_few(rng)):
        data = rng.choice(_BYTES)(rng, data, others)[:MOST]
    return data


def _span(rng: Random, size: int, longest: int = 200) -> tuple[int, int]:
    start = rng.randint(0, size)
    return start, min(size, start + rng.randint(0, rng.choice((1, 4, 16, longest))))


def _few(rng: Random) -> int:
    return rng.choice((1, 1, 1, 2, 3, 6))


def _flip(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(_few(rng)):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _overwrite(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(rng, len(data))
    filler = rng.choice((b"\0", b"\xff", b"\x7f", b" ", None))
    fresh = rng.randbytes(end - start) if filler is None else filler * (end - start)
    return data[:start] + fresh + data[end:]


def _delete(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(rng, len(data))
    return data[:start] + data[end:]


def _insert(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 8, 64))) + data[at:]


def _repeat(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(rng, len(data))
    times = rng.choice((2, 3, 30, 3000))
    return data[:start] + data[start:end] * min(times, MOST // max(end - start, 1)) + data[end:]


def _truncate(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: rng.randint(0, len(data))]


def _splice(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others) if others else data
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def _integer(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A length or count somewhere becomes an odd one."""
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 10**9, rng.getrandbits(16), len(data)))
    at = rng.randint(0, max(0, len(data) - size))
    return data[:at] + (value % 2 ** (8 * size)).to_bytes(size, "little") + data[at + size :]


_BYTES = (_flip, _overwrite, _delete, _insert, _repeat, _truncate, _splice, _integer)


def mutate_text(rng: Random, text: str, others: Sequence[str], tokens: Sequence[str]) -> str:
    """One to six random changes that know numbers, words, lines, nesting, and the language's own tokens."""
    for _ in range(_few(rng)):
        text = _one_change(rng, text, others, tokens)[:MOST]
    return text


def _one_change(rng: Random, text: str, others: Sequence[str], tokens: Sequence[str]) -> str:
    kind = rng.randrange(13)
    at = rng.randint(0, len(text))
    if kind == 0:
        return _replace_match(rng, text, r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?", rng.choice(NUMBERS))
    if kind == 1:
        return _replace_match(rng, text, r"[A-Za-z_][\w.-]*", rng.choice((*WORDS, *tokens)))
    if kind == 2:
        return _replace_match(rng, text, r"[\w./]+\.(?:yaml|urdf|obj|mtl|npz|bvh)", rng.choice(PATHS))
    if kind == 3:
        return text[:at] + rng.choice(tokens) + text[at:]
    if kind == 4:
        return text[:at] + rng.choice((*NUMBERS, *WORDS, *PATHS)) + text[at:]
    if kind in (5, 6, 7):
        return _lines(rng, text, kind)
    if kind == 8:  # deep nesting, closed or not
        depth = rng.choice((2, 31, 33, 100, 5000))
        opening, closing = rng.choice(
            (("[", "]"), ("{a: ", "}"), ('{"a":', "}"), ("<a>", "</a>"), ("- ", ""), ("{\n", "}\n"))
        )
        return text[:at] + opening * depth + (closing * depth if rng.random() < 0.7 else "") + text[at:]
    if kind == 9:
        return text[:at]
    if kind == 10:
        other = rng.choice(others) if others else text
        return text[:at] + other[rng.randint(0, len(other)) :]
    if kind == 11:  # one word of the text in place of another
        words = re.findall(r"[^\s]+", text[:100_000])
        return _replace_match(rng, text, r"[^\s]+", rng.choice(words)) if words else text
    start, end = _span(rng, len(text))
    return text[:start] + text[start:end] * rng.choice((0, 2, 50, 2000)) + text[end:]


def _replace_match(rng: Random, text: str, pattern: str, word: str) -> str:
    found = list(re.finditer(pattern, text[:100_000]))
    if not found:
        return text
    match = rng.choice(found)
    return text[: match.start()] + word + text[match.end() :]


def _lines(rng: Random, text: str, kind: int) -> str:
    lines = text.split("\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    if kind == 5:
        lines.insert(j, lines[i])
    elif kind == 6:
        del lines[min(i, j) : max(i, j) if rng.random() < 0.2 else min(i, j) + 1]
    elif rng.random() < 0.5:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        lines[i] = rng.choice(("  ", "\t", "    ", "- ")) + lines[i]
    return "\n".join(lines)


def scalar(rng: Random, old: Any = None) -> Any:
    """An odd value; often of the same type as `old`, so that it gets past the first check."""
    if isinstance(old, str) and rng.random() < 0.5:  # another number in "0.3 -0.6 m"
        return _replace_match(rng, old, r"[-+]?\d*\.?\d+", rng.choice((*NUMBERS, f"{rng.uniform(-3, 3):.3f}")))
    if isinstance(old, (int, float)) and not isinstance(old, bool) and rng.random() < 0.7:
        return rng.choice((0, -1, 1, 1e-9, -old, old * 2, old * 10, 1e9, 1e308, 5e-324, 2**63, 10**40, float("nan")))
    return rng.choice(
        (
            None, True, False, 0, -1, 1.5, 1e308, float("inf"), float("nan"), 2**70, 10**400, "", [], {}, [[]],
            {"a": {}}, [None], [0.0] * 3, [1] * 3000, rng.choice(NUMBERS), rng.choice(WORDS), rng.choice(PATHS),
            rng.choice(WORDS),
        )
    )  # fmt: skip


def mutate_tree(rng: Random, tree: Any) -> Any:
    """One to six changes to plain data: values, keys, items, whole branches."""
    tree = copy.deepcopy(tree)
    for _ in range(_few(rng)):
        places: list[tuple[Any, Any]] = []
        waiting = [tree]
        while waiting and len(places) < 20_000:
            node = waiting.pop()
            entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
            for key, value in entries:
                places.append((node, key))
                waiting.append(value)
        if not places:
            return scalar(rng, tree)
        node, key = rng.choice(places)
        _CHANGES[rng.randrange(len(_CHANGES))](rng, node, key, places)
    return tree


def _value(rng: Random, node: Any, key: Any, places: Any) -> None:
    node[key] = scalar(rng, node[key])


def _drop(rng: Random, node: Any, key: Any, places: Any) -> None:
    del node[key]


def _again(rng: Random, node: Any, key: Any, places: Any) -> None:
    if isinstance(node, list):
        node[key:key] = [copy.deepcopy(node[key]) for _ in range(rng.choice((1, 1, 20, 600)))]
    else:
        node[rng.choice((*WORDS[:16], f"{key}_", str(key).upper()))] = copy.deepcopy(node[key])


def _rename(rng: Random, node: Any, key: Any, places: Any) -> None:
    if isinstance(node, dict):
        node[rng.choice((*WORDS, f"{key}x", "name", "kind", "is", "not", "object"))] = node.pop(key)


def _other_branch(rng: Random, node: Any, key: Any, places: Any) -> None:
    other, place = rng.choice(places)
    with suppress(KeyError, IndexError):
        node[key] = copy.deepcopy(other[place])


def _nest(rng: Random, node: Any, key: Any, places: Any) -> None:
    for _ in range(rng.choice((1, 2, 40))):
        node[key] = [node[key]] if rng.random() < 0.5 else {"a": node[key]}


_CHANGES: tuple[Callable[[Random, Any, Any, Any], None], ...] = (
    _value, _value, _value, _drop, _again, _rename, _other_branch, _nest,
)  # fmt: skip
