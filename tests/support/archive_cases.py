"""Damaged and hostile variants of a small archive, for tests and for campaigns with other seeds.

``case(kind, content, number, seed)`` gives a named variant of the bytes of an archive or checkpoint. Even numbers are
damaged as files are (flips, cuts, repeats, extremes); odd ones are taken apart, changed inside and put together again
with right checksums, which is what a hostile file is. The same number and seed give the same variant. ``good(kind)``
makes a file to start from, and ``use(path)`` does with a file what a user would.
"""

from __future__ import annotations

import json
import random
import tempfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from mltrack_plugin.archives.safezip import write_canonical

#: Kinds that :func:`case` knows, by the suffix of the file.
KINDS = (".pt", ".pt2", ".onnx", ".ckpt")
_EXTREMES = (
    0,
    1,
    -1,
    255,
    2**31 - 1,
    2**31,
    2**63 - 1,
    2**64,
    1e308,
    float("nan"),
    None,
    "",
    [],
    {},
    "x" * 5000,
    True,
)


def case(kind: str, content: bytes, number: int, seed: int) -> tuple[str, bytes]:
    """A variant of a good file, and a name that says what was done.

    Args:
        kind: suffix of the file, one of ``KINDS``.
        content: a good file.
        number: of the variant.
        seed: of the random choices.
    """
    rng = random.Random(f"{seed} {kind} {number}")
    inside = (
        [_edit_onnx] if kind == ".onnx" else [_edit_members, _edit_members, _swap_members, _rename_member]
    )
    changes: list[Callable[[bytes, random.Random], tuple[str, bytes]]]
    changes = inside if number % 2 else [_flip, _cut, _repeat, _extreme]
    name, changed = rng.choice(changes)(content, rng)
    return f"{number}-{name}", changed


def good(kind: str) -> bytes:
    """A small EncReg as a file of this kind."""
    from model_fixtures import make_card, make_network, write_checkpoint

    from mltrack_plugin.archives.archive import pack

    if kind != ".ckpt":
        return pack(make_network(), make_card(), kind)
    with tempfile.TemporaryDirectory() as folder:
        return write_checkpoint(Path(folder) / "good.ckpt").read_bytes()


def use(path: Path) -> Any:
    """Load a file and apply its network to an event (raises what the package raises)."""
    import numpy as np

    from mltrack_plugin.archives.archive import load_model
    from mltrack_plugin.archives.checkpoint import load_checkpoint

    if path.suffix == ".ckpt":
        return load_checkpoint(path)
    return load_model(path).predict(np.ones((7, 3), dtype=np.float32))


def _flip(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return "flip", bytes(changed)


def _cut(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    start, stop = sorted((rng.randrange(len(content)), rng.randrange(len(content))))
    return "cut", rng.choice((content[:start], content[start:], content[:start] + content[stop:]))


def _repeat(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    start = rng.randrange(len(content))
    part = content[start : start + rng.choice((4, 30, 46, 1000))]
    place = rng.randrange(len(content))
    return "repeat", content[:place] + part + content[place:]


def _extreme(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Extreme numbers where sizes and positions may stand."""
    width = rng.choice((1, 2, 4, 8))
    place = rng.randrange(len(content) - width)
    if rng.random() < 0.5:
        place = max(len(content) - rng.randrange(width + 1, 3000), 0)
    value = rng.choice(
        (b"\xff" * width, b"\x00" * width, (2 ** (8 * width - 1) - 1).to_bytes(width, "little"))
    )
    return "extreme", content[:place] + value + content[place + width :]


def members(content: bytes) -> tuple[str, dict[str, bytes]]:
    """Root folder and members of a good zip archive, read without the package's own checks."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = archive.namelist()
        root = names[0].split("/")[0]
        return root, {name[len(root) + 1 :]: archive.read(name) for name in names}


def _edit_members(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    root, parts = members(content)
    structure = [n for n in parts if n.endswith((".pkl", ".py", ".json")) or "model" in n]
    name = rng.choice(structure if structure and rng.random() < 0.8 else list(parts))
    parts[name] = _edited(name, parts[name], rng)
    return f"edit-{name.rsplit('/', 1)[-1]}", write_canonical(root, parts)


def _edited(name: str, content: bytes, rng: random.Random) -> bytes:
    if name.endswith(".json") and rng.random() < 0.8:
        value = json.loads(content)
        _edit_json(value, rng)
        return json.dumps(value).encode()
    if name.endswith(".py") and rng.random() < 0.8:
        words = content.decode().split(" ")
        i, k = rng.randrange(len(words)), rng.randrange(len(words))
        words[i] = rng.choice(
            (words[k], "torch.save", "0", "-9223372036854775808", "None", "print", "[[[[", "x" * 999)
        )
        return " ".join(words).encode()
    if not content:
        return b"\xff" * rng.choice((1, 8, 1000))
    return rng.choice((_flip, _cut, _repeat, _cut))(content, rng)[1]


def _edit_json(value: Any, rng: random.Random) -> None:
    """Replace, remove or repeat something, at a random place."""
    while True:
        keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(value[key], (dict, list)) and value[key] and rng.random() < 0.9:
            value = value[key]
            continue
        action = rng.random()
        if action < 0.7:
            value[key] = rng.choice(_EXTREMES)
        elif action < 0.9:
            del value[key]
        else:
            value[key] = [value[key]] * 3
        return


def _swap_members(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    root, parts = members(content)
    first, second = rng.choice(list(parts)), rng.choice(list(parts))
    parts[first], parts[second] = parts[second], parts[first]
    if rng.random() < 0.3:
        del parts[first]
    return "swap", write_canonical(root, parts)


def _rename_member(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    root, parts = members(content)
    name = rng.choice(list(parts))
    new = rng.choice(
        (
            name.upper(),
            f"../{name}",
            f"{name}/x",
            f"/{name}",
            "code/__torch__/x.PY",
            "data/999",
            name[:-1] or "x",
        )
    )
    parts[new] = parts[name] if rng.random() < 0.5 else parts.pop(name)
    return "rename", write_canonical(root, parts)


def _edit_onnx(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    import onnx

    proto = onnx.load_model_from_string(content)
    graph = proto.graph
    action = rng.randrange(8)
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    if action == 0:
        node.op_type = rng.choice(
            ("Loop", "If", "Scan", "Cast", "Reshape", "Gather", "ConstantOfShape", "Tile")
        )
    elif action == 1 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((0, 1, -1, 2**31, 2**62))
    elif action == 2:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif action == 3:
        tensor.data_type = rng.randrange(30)
    elif action == 4 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice((*node.output, tensor.name, "", "features"))
    elif action == 5 and node.attribute:
        node.attribute[0].i = rng.choice((-1, 2**62, 7))
    elif action == 6:
        del graph.node[rng.randrange(len(graph.node))]
    else:
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "secret.bin"
        tensor.data_location = tensor.EXTERNAL
    return f"onnx-{action}", proto.SerializeToString()
