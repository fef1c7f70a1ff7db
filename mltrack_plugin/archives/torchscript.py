"""TorchScript archives (``.pt``): writing them reproducibly, reading them without trusting them.

What ``torch.jit.load`` does with a hostile file (torch 2.13): its pickles are decoded by a C++ reader that
can build tensors, plain values and the archive's own TorchScript classes, never Python objects. Two doors
remain: ``__setstate__`` methods run while the file is loaded, and TorchScript code can call operators that
write or read files (``aten::save``, ``aten::from_file``) or reach other processes. The code members are
therefore parsed before torch sees the file, and such archives are refused.
"""

from __future__ import annotations

import ast
import contextlib
import io
import pickletools
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.safezip import CheckedZip, read_checked, write_canonical
from mltrack_plugin.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from mltrack_plugin.event_data.base import Array

CARD_MEMBER = "extra/model_card.json"
_CONSTANTS = re.compile(rb"(?:^  \w+ : Final\[.*\n){2,}", re.MULTILINE)
_FORBIDDEN_CALLS = {"save", "from_file", "rpc_async", "rpc_sync", "rpc_remote"}
_ALLOWED_NAMESPACES = {"aten", "prim"}
_ALLOWED_GLOBALS = ("__torch__.", "torch._utils ", "torch.jit._pickle ", "collections OrderedDict", "torch ")


def save(module: nn.Module, card: ModelCard) -> bytes:
    """Script a module and pack it with its card.

    The same weights and card give the same bytes: times, source paths and debug records are left out. That holds for
    the first network that a process scripts: torch numbers the classes of the later ones.

    Raises:
        ModelError: if the module cannot be scripted.
    """
    import torch

    with _quiet():
        try:
            script = module if isinstance(module, torch.jit.ScriptModule) else torch.jit.script(module.eval())
        except Exception as error:
            raise ModelError(f"model {card.name!r} cannot be compiled to TorchScript: {error}") from error
        buffer = io.BytesIO()
        torch.jit.save(script, buffer)
    archive = read_checked(buffer.getvalue(), card.name)
    members = {CARD_MEMBER: card.to_json().encode()}
    for name, content in archive.members.items():
        # Debug records hold the paths of the machine that exported; serialization_id covers them as well.
        if not name.endswith(".debug_pkl") and name != ".data/serialization_id":
            members[name] = _ordered(content) if name.endswith(".py") else content
    return write_canonical("model", members)


def _ordered(code: bytes) -> bytes:
    """Code whose constants are in the order of their names: torch writes them in that of a set, which varies."""
    return _CONSTANTS.sub(lambda found: b"".join(sorted(found[0].splitlines(keepends=True))), code)


def read_card(archive: CheckedZip, source: str) -> ModelCard:
    """Check that the archive is TorchScript that does nothing but compute, and return its card.

    Raises:
        ModelError: with the reason.
    """
    names = set(archive.members)
    code = [name for name in names if name.startswith("code/") and name.endswith(".py")]
    if "data.pkl" in names and not code:
        raise ModelError(
            f"{source}: a torch.save checkpoint (a pickle, which can run any code), not a model archive. "
            "Convert it with:  mltrack export CHECKPOINT --output MODEL.pt"
        )
    if not {"constants.pkl", "data.pkl", "version"} <= names or not code:
        raise ModelError(f"{source}: not a TorchScript archive; write one with:  mltrack export")
    for name in sorted(names):
        if name.endswith(".pkl"):
            _check_pickle(archive.members[name], f"{source}: {name}")
    for name in code:
        _check_code(archive.members[name], f"{source}: {name}")
    if CARD_MEMBER not in names:
        raise ModelError(
            f"{source}: TorchScript without a model card, so features, units and detector are unknown. "
            "Write the file with:  mltrack export"
        )
    return ModelCard.from_json(archive.members[CARD_MEMBER], source)


class TorchScriptEngine:
    """A loaded TorchScript network.

    Args:
        content: the whole archive, already checked by :func:`read_card`.
        device: "cpu" or "cuda".
        source: the file, for messages.
    """

    def __init__(self, content: bytes, device: str, source: str) -> None:
        import torch

        with _quiet():
            try:
                self._module = torch.jit.load(  # type: ignore[no-untyped-call]
                    io.BytesIO(content), map_location=device
                ).eval()
            except Exception as error:
                raise ModelError(
                    f"{source}: torch cannot load the archive ({error}). Export it again"
                ) from error
        self._device = torch.device(device)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Weights and buffers by name."""
        return dict(self._module.state_dict())

    def __call__(self, *inputs: Array) -> Array:
        """See :class:`~mltrack_plugin.archives.track_model.Engine`."""
        import torch

        # The optimising executor recompiles on the first calls (49 and 22 ms instead of 12 for 300 hits) and
        # gains nothing afterwards; without it events of any length take the same time from the first one on.
        with _quiet(), torch.inference_mode(), _plain_executor():
            tensors = [torch.from_numpy(array).to(self._device) for array in inputs]
            output: torch.Tensor = self._module(*tensors)
            result: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = output.float().cpu().numpy()
        return result


def _check_pickle(content: bytes, where: str) -> None:
    """Every class a pickle names must be one the TorchScript reader knows; nothing is unpickled."""
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "GLOBAL":
                if not str(argument).startswith(_ALLOWED_GLOBALS):
                    raise ModelError(f"{where} names the Python object {argument!r}; the file is not opened")
            elif opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
                raise ModelError(f"{where} holds a Python object ({opcode.name}); the file is not opened")
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise ModelError(f"{where} is damaged ({error}). Download or export the model again") from None


def _check_code(content: bytes, where: str) -> None:
    """TorchScript code is written in Python's syntax; its calls are compared with what a network needs."""
    try:
        tree = ast.parse(content.decode())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError(f"{where} cannot be checked ({error}); the file is not opened") from None
    namespaces = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in ("__setstate__", "__getstate__"):
            raise ModelError(f"{where} runs code while it is loaded ({node.name}); the file is not opened")
        if isinstance(node, ast.Name) and node.id in ("torch", "ops") and id(node) not in namespaces:
            raise ModelError(f"{where} passes the namespace {node.id!r} around; the file is not opened")
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if node.attr in _FORBIDDEN_CALLS:
                raise ModelError(
                    f"{where} uses the operator {node.attr!r} (files or network); the file is not opened"
                )
            if node.attr == "classes" or (owner == "ops" and node.attr not in _ALLOWED_NAMESPACES):
                raise ModelError(
                    f"{where} needs the native extension {owner}.{node.attr}; the file is not opened"
                )


def _plain_executor() -> contextlib.AbstractContextManager[None]:
    import torch

    return torch.jit.optimized_execution(False)  # type: ignore[attr-defined]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own notice that TorchScript is deprecated (no other warning is hidden)."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r".*torch\.jit\..* is (deprecated|not supported)", DeprecationWarning
        )
        yield
