"""ONNX files (``.onnx``), run by ONNX Runtime; needs the extra [onnx].

ONNX is a protocol buffer without code. Before ONNX Runtime sees a file it is looked through completely
(:mod:`~mltrack_plugin.archives.onnx_checks`): weights in other files (any path of the machine could be named),
operators of other domains (they would need native extensions) and wrong sizes are refused. ONNX Runtime gets what was
understood, written anew, without unknown fields and notes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.onnx_checks import check_proto
from mltrack_plugin.errors import ModelError, first_line, require_extra

if TYPE_CHECKING:
    from torch import nn

    from mltrack_plugin.event_data.base import Array

CARD_KEY = "model_card.json"
#: The first operator set with an attention operator; written-out attention is a third slower.
OPSET = 23
#: Names of the network's inputs.
INPUTS = ("features", "mask")
_PURPOSE = "the model format .onnx"


def save(module: nn.Module, card: ModelCard) -> bytes:
    """Export a module for any number of events and hits and pack it with its card.

    Raises:
        ModelError: if the module cannot be exported.
        MissingExtraError: without the extra [onnx].
    """
    import torch

    from mltrack_plugin.archives.exported import example_inputs

    for package in ("onnx", "onnxscript", "onnxruntime"):
        require_extra(package, "onnx", _PURPOSE)
    dynamic = torch.export.Dim.DYNAMIC
    try:
        with _quiet():
            program = torch.onnx.export(
                module.cpu().eval(),
                example_inputs(card),
                dynamo=True,
                dynamic_shapes=({0: dynamic, 1: dynamic},) * 2,
                input_names=list(INPUTS),
                output_names=["parameters"],
                opset_version=OPSET,
                verbose=False,
            )
            proto: Any = program.model_proto  # type: ignore[union-attr]
    except Exception as error:
        raise ModelError(
            f"model {card.name!r} cannot be exported to ONNX ({first_line(error)}); the format .pt holds every network"
        ) from error
    # Notes of the exporter hold source paths of its machine.
    proto.doc_string = ""
    del proto.metadata_props[:]
    graph = proto.graph
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    entry = proto.metadata_props.add()
    entry.key, entry.value = CARD_KEY, card.to_json()
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def read_card(content: bytes, source: str) -> ModelCard:
    """Check the file and return its card.

    Raises:
        ModelError: with the reason.
        MissingExtraError: without the extra [onnx].
    """
    proto = _checked(content, source)
    cards = [entry.value for entry in proto.metadata_props if entry.key == CARD_KEY]
    if len(cards) != 1:
        raise ModelError(
            f"{source}: ONNX without a model card, so features, units and detector are unknown. "
            "Write the file with:  mltrack export"
        )
    return ModelCard.from_json(cards[0], source)


def _checked(content: bytes, source: str) -> Any:
    """The decoded model, without unknown fields (raises ``ModelError``)."""
    onnx = require_extra("onnx", "onnx", _PURPOSE)
    try:
        proto = onnx.load_model_from_string(content)
        proto.DiscardUnknownFields()
    except Exception as error:
        raise ModelError(
            f"{source}: not an ONNX model, or damaged ({first_line(error)}). Download or export it again"
        ) from None
    operators = frozenset(schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain)
    try:
        check_proto(proto, operators)
    except ValueError as error:
        raise ModelError(f"{source}: the model {error}; the file is not opened") from None
    # Names of initializers may be repeated among the inputs, as older versions of the format want it.
    given = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value.name for value in proto.graph.input if value.name not in given]
    if inputs != list(INPUTS) or len(proto.graph.output) != 1:
        found = ", ".join(map(repr, inputs[:5]))
        raise ModelError(
            f"{source}: not an ONNX model of a network: it has the inputs {found} and "
            f"{len(proto.graph.output)} outputs; "
            f"{', '.join(map(repr, INPUTS))} and one output are expected. Write the file with:  mltrack export"
        )
    try:
        onnx.checker.check_model(proto)
    except Exception as error:
        raise ModelError(
            f"{source}: not an ONNX model, or damaged ({first_line(error)}). Download or export it again"
        ) from None
    return proto


class OnnxEngine:
    """A network in ONNX Runtime, with as many threads as torch would use.

    Args:
        content: the file, already checked by :func:`read_card`.
        device: "cpu" or "cuda".
        source: the file, for messages.
    """

    def __init__(self, content: bytes, device: str, source: str) -> None:
        runtime = require_extra("onnxruntime", "onnx", _PURPOSE)
        import torch

        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
        if provider not in runtime.get_available_providers():
            raise ModelError(f"{source}: this onnxruntime has no {provider}; use --device cpu or a .pt model")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Never taken for ONNX Runtime's own format, which is not checked here.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.log_severity_level = 4
        proto = _checked(content, source)
        del proto.metadata_props[:]
        try:
            self._session = runtime.InferenceSession(proto.SerializeToString(), options, providers=[provider])
        except Exception as error:
            raise ModelError(
                f"{source}: ONNX Runtime {runtime.__version__} cannot load the model ({first_line(error)})"
            ) from error

    def __call__(self, *inputs: Array) -> Array:
        """See :class:`~mltrack_plugin.archives.track_model.Engine`."""
        result: Array = self._session.run(None, dict(zip(INPUTS, inputs, strict=True)))[0]
        return result


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own internals, on packages that are not needed, and on what it cannot do."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
