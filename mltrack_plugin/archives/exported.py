"""torch.export archives (``.pt2``): a graph of tensor operators as JSON, weights as raw bytes.

What ``torch.export.load`` does with a hostile file (torch 2.13): it unpickles weights and constants that are
marked ``use_pickle``, falls back to unrestricted unpickling of the sample inputs, evaluates symbolic sizes
with ``sympy.sympify`` and ``guards_code`` as Python, and looks operators up as any attribute of ``torch``.
Here torch never gets the file itself: the members are checked, the graph must consist of ATen operators and
plain sizes, and an archive without pickles, guards and metadata is rebuilt from them. The same cleaning on
export removes source paths, and makes the bytes reproducible.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import warnings
from typing import TYPE_CHECKING, Any

from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.safezip import CheckedZip, read_checked, write_canonical
from mltrack_plugin.errors import ModelError, first_line

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from mltrack_plugin.event_data.base import Array

CARD_MEMBER = "extra/model_card.json"
_GRAPH = "models/model.json"
_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"
_REQUIRED = {_GRAPH, _WEIGHTS, _CONSTANTS, "archive_format", "archive_version"}
_DROPPED = {_SAMPLE_INPUTS, ".data/serialization_id"}
_PLAIN = re.compile(r"data/(weights/weight|constants/tensor)_\d+|byteorder|\.data/version")
_PATH_NAME = re.compile(r"(weight|tensor)_\d+")
_TARGET = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|torch\.sym_(int|not|max|min)|math\.(ceil|floor|trunc)|_operator\."
    r"(getitem|add|sub|mul|truediv|floordiv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
_SYMBOL = re.compile(r"[su]\d+")
_FUNCTIONS = {
    *("Symbol", "Integer", "Add", "Mul", "Pow", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "Max", "Min"),
    *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Equality", "Unequality"),
    *("StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan"),
}
_EXPRESSION_NODES: tuple[type[ast.AST], ...] = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant),
    *(ast.BinOp, ast.UnaryOp, ast.operator, ast.USub),
)
_ARGUMENTS_REFUSED = {"as_operator", "as_custom_obj", "as_graph"}
_TREE_TYPES = {"builtins.tuple", "builtins.list", "builtins.dict", None}
_ROOT = "archive"


def save(module: nn.Module, card: ModelCard) -> bytes:
    """Export a module for any number of events and hits and pack it with its card.

    Raises:
        ModelError: if the module cannot be exported (e.g. its control flow depends on values).
    """
    import torch

    dynamic = torch.export.Dim.DYNAMIC
    module = module.cpu().eval()
    buffer = io.BytesIO()
    try:
        # A graph that cannot be made is printed as far as it goes, page after page.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            # torch's own internals warn here about their future; users can do nothing about it.
            warnings.simplefilter("ignore", (FutureWarning, DeprecationWarning))
            program = torch.export.export(
                module, example_inputs(card), dynamic_shapes=({0: dynamic, 1: dynamic},) * 2
            )
            torch.export.save(program, buffer)
    except Exception as error:
        raise ModelError(
            f"model {card.name!r} cannot be exported by torch.export ({first_line(error)}); the format .pt holds every "
            "network"
        ) from error
    archive = read_checked(buffer.getvalue(), card.name)
    return _rebuild(archive, card.name, card.to_json().encode())


def example_inputs(card: ModelCard) -> tuple[torch.Tensor, torch.Tensor]:
    """(3, 17, F) features and (3, 17) mask with padding: sizes that no exporter mistakes for constants."""
    import torch

    lengths = torch.tensor([17, 11, 5])
    mask = torch.arange(17)[None, :] < lengths[:, None]
    features = torch.linspace(0.1, 1.0, 3 * 17 * len(card.features)).reshape(3, 17, -1)
    return features * mask[..., None], mask


def read_card(archive: CheckedZip, source: str) -> ModelCard:
    """Check that the archive is an exported graph that does nothing but compute, and return its card.

    Raises:
        ModelError: with the reason.
    """
    names = set(archive.members)
    if not names >= _REQUIRED:
        raise ModelError(
            f"{source}: not a torch.export archive as torch 2.9 or later writes it "
            f"({', '.join(sorted(_REQUIRED - names))} missing); write one with:  mltrack export"
        )
    if CARD_MEMBER not in names:
        raise ModelError(
            f"{source}: no model card, so features, units and detector are unknown. "
            "Write the file with:  mltrack export"
        )
    card = ModelCard.from_json(archive.members[CARD_MEMBER], source)
    _rebuild(archive, source, archive.members[CARD_MEMBER])
    return card


class ExportedEngine:
    """A loaded torch.export program.

    Args:
        archive: already checked by :func:`read_card`.
        device: "cpu" or "cuda".
        source: the file, for messages.
    """

    def __init__(self, archive: CheckedZip, device: str, source: str) -> None:
        import torch

        content = _rebuild(archive, source, archive.members[CARD_MEMBER])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", (FutureWarning, DeprecationWarning))
                program = torch.export.load(io.BytesIO(content))
                if device != "cpu":
                    from torch.export.passes import move_to_device_pass

                    program = move_to_device_pass(program, device)
                self._module = program.module()
        except Exception as error:
            raise ModelError(
                f"{source}: torch {torch.__version__} cannot load the archive ({error}). Export it again"
            ) from error
        self._device = torch.device(device)

    def __call__(self, *inputs: Array) -> Array:
        """See :class:`~mltrack_plugin.archives.track_model.Engine`."""
        import torch

        with torch.inference_mode():
            tensors = [torch.from_numpy(array).to(self._device) for array in inputs]
            output: torch.Tensor = self._module(*tensors)
            result: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = output.float().cpu().numpy()
        return result


def _rebuild(archive: CheckedZip, source: str, card: bytes) -> bytes:
    """The archive with checked members only: no pickles, no guards, no metadata."""
    members = {CARD_MEMBER: card}
    for name, content in archive.members.items():
        if name == _GRAPH:
            members[name] = _clean_graph(_json(content, f"{source}: {name}"), f"{source}: {name}")
        elif name in (_WEIGHTS, _CONSTANTS):
            _check_payload(_json(content, f"{source}: {name}"), f"{source}: {name}")
            members[name] = content
        elif name in ("archive_format", "archive_version") or _PLAIN.fullmatch(name):
            members[name] = content
        elif name != CARD_MEMBER and name not in _DROPPED:
            raise ModelError(
                f"{source}: unexpected member {name!r} in a torch.export archive; it is not opened"
            )
    # torch wants the member to exist, and takes an empty one for "no sample inputs" without unpickling.
    members[_SAMPLE_INPUTS] = b""
    return write_canonical(_ROOT, members)


def _json(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where} is damaged ({error}). Export the model again") from None


def _check_payload(config: Any, where: str) -> None:
    """Weights and constants must be raw tensors in members of their own."""
    try:
        for name, payload in config["config"].items():
            if payload["use_pickle"] or not _PATH_NAME.fullmatch(payload["path_name"]):
                raise ModelError(
                    f"{where}: {name!r} is a Python pickle, which can run any code; it is not opened"
                )
            if any(set(size) != {"as_int"} for size in payload["tensor_meta"]["sizes"]):
                raise ModelError(f"{where}: {name!r} has no fixed size; the file is not opened")
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{where} is damaged ({error!r}). Export the model again") from None


def _clean_graph(program: Any, where: str) -> bytes:
    """The graph without source paths and guards, after checking all that torch would evaluate."""
    try:
        program["guards_code"] = []
        module = program["graph_module"]
        module["metadata"] = {}
        module["module_call_graph"] = [entry for entry in module["module_call_graph"] if entry["fqn"] == ""]
        if module["treespec_namedtuple_fields"] or module["graph"]["custom_obj_values"]:
            raise ModelError(f"{where} needs Python classes; the file is not opened")
        for node in module["graph"]["nodes"]:
            node["metadata"] = {}
        for name in program["range_constraints"]:
            if not _SYMBOL.fullmatch(name):
                raise ModelError(f"{where} names the symbol {name!r}; the file is not opened")
        _check_values(program, where)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{where} is damaged ({error!r}). Export the model again") from None
    return json.dumps(program, separators=(",", ":")).encode()


def _check_values(value: Any, where: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check_values(item, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "target" and not _TARGET.fullmatch(item or ""):
                raise ModelError(
                    f"{where} calls {item!r}, which is no tensor operator; the file is not opened"
                )
            if key == "expr_str":
                _check_expression(item, where)
            elif key in ("in_spec", "out_spec"):
                _check_tree(json.loads(item)[1], where)
            elif key in _ARGUMENTS_REFUSED:
                raise ModelError(f"{where} holds {key!r}; the file is not opened")
            else:
                _check_values(item, where)


def _check_expression(text: str, where: str) -> None:
    """A symbolic size is arithmetic of integers and symbols."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = []
    functions = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
    for node in nodes:
        good = isinstance(node, _EXPRESSION_NODES)
        if isinstance(node, ast.Name):
            good = node.id in _FUNCTIONS if id(node) in functions else bool(_SYMBOL.fullmatch(node.id))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            good = bool(_SYMBOL.fullmatch(node.value))
        if not good:
            nodes = []
            break
    if not nodes:
        raise ModelError(
            f"{where} holds the size {text!r}, which is no plain arithmetic; the file is not opened"
        )


def _check_tree(tree: Any, where: str) -> None:
    """Arguments and results are nested tuples, lists and dicts of tensors."""
    if tree["type"] not in _TREE_TYPES:
        raise ModelError(f"{where} needs the Python class {tree['type']!r}; the file is not opened")
    for child in tree["children_spec"]:
        _check_tree(child, where)
