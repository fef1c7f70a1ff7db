"""torch.export archives (``.pt2``): a graph of tensor operators as JSON, weights as raw bytes.

What ``torch.export.load`` does with a hostile file (torch 2.13): it unpickles weights and constants that are
marked ``use_pickle``, falls back to unrestricted unpickling of the sample inputs, evaluates symbolic sizes
with ``sympy.sympify`` and ``guards_code`` as Python, looks operators up as any attribute of ``torch``, puts the names
of the graph into Python code that it runs, and takes an empty weight for zeros.
Here torch never gets the file itself: the members are checked (:mod:`~mltrack_plugin.archives.exported_graph`), and an
archive without pickles, guards and metadata is rebuilt from them. The same cleaning on export removes source paths, and
makes the bytes reproducible.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from typing import TYPE_CHECKING

from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.exported_graph import check_payload, clean_graph, read_json
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
                f"{source}: torch {torch.__version__} cannot load the archive ({first_line(error)}). Export it again"
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
            members[name] = clean_graph(read_json(content, f"{source}: {name}"), f"{source}: {name}")
        elif name in (_WEIGHTS, _CONSTANTS):
            config, folder = read_json(content, f"{source}: {name}"), name.rsplit("/", 1)[0]
            check_payload(config, archive.members, folder, f"{source}: {name}")
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
