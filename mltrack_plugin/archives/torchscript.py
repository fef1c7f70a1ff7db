"""TorchScript archives (``.pt``): writing them reproducibly, reading them without trusting them.

What ``torch.jit.load`` does with a hostile file (torch 2.13): its pickles are decoded by a C++ reader that can build
tensors, plain values and the archive's own TorchScript classes, never Python objects, but that believes all sizes and
types; ``__setstate__`` methods run while the file is loaded; members are found whatever the case of their names; and
TorchScript code can call operators that write or read files (``aten::save``, ``aten::from_file``) or reach other
processes. Here the pickles, the code and the lengths of the tensors are checked, and torch gets an archive that is
made anew of what was checked.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.pickles import Tensor, read_pickle
from mltrack_plugin.archives.safezip import CheckedZip, allow_members, read_checked, write_canonical
from mltrack_plugin.archives.scripted_code import check_code
from mltrack_plugin.archives.scripted_values import allowed_name, check_values
from mltrack_plugin.errors import ModelError, first_line

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from mltrack_plugin.event_data.base import Array

CARD_MEMBER = "extra/model_card.json"
_CONSTANTS = re.compile(rb"(?:^  \w+ : Final\[.*\n){2,}", re.MULTILINE)
#: What torch gets: structure, code, and the numbers of the tensors.
_KEPT = re.compile(
    r"(data|constants)\.pkl|(data|constants)/\d+|code/__torch__(/\w+)*\.py|(\.data/)?version|byteorder"
)
#: What torch writes as well and does not need.
_DROPPED = re.compile(
    r"code/__torch__(/\w+)*\.py\.debug_pkl|\.data/serialization_id|\.format_version|\.storage_alignment|"
    r"extra/[^/]+"
)
#: Networks with operators of which torch has several versions have the second one.
_VERSIONS = {"version", ".data/version"}
_VERSION = re.compile(rb"\d{1,3}\n?")


def save(module: nn.Module, card: ModelCard) -> bytes:
    """Script a module and pack it with its card.

    The same weights and card give the same bytes: times, source paths and debug records are left out. That holds for
    the first network that a process scripts: torch numbers the classes of the later ones.

    Raises:
        ModelError: if the module cannot be scripted.
    """
    import torch

    for part in module.modules():
        if type(part).__module__ == "__main__":
            raise ModelError(
                f"model {card.name!r}: class {type(part).__name__} is defined in a script (__main__), where nothing "
                "else can find it by its name. Move it into a module that the script imports"
            )
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
    code = {
        name: text
        for name, text in archive.members.items()
        if name.startswith("code/") and name.endswith(".py")
    }
    if "data.pkl" in names and not code:
        raise ModelError(
            f"{source}: a torch.save checkpoint (a pickle, which can run any code), not a model archive. "
            "Convert it with:  mltrack export CHECKPOINT --output MODEL.pt"
        )
    if not {"constants.pkl", "data.pkl"} <= names or not names & _VERSIONS or not code:
        raise ModelError(f"{source}: not a TorchScript archive; write one with:  mltrack export")
    allow_members(archive, (_KEPT, _DROPPED), source, "TorchScript archive")
    _check_content(archive, code, source)
    if CARD_MEMBER not in names:
        raise ModelError(
            f"{source}: TorchScript without a model card, so features, units and detector are unknown. "
            "Write the file with:  mltrack export"
        )
    return ModelCard.from_json(archive.members[CARD_MEMBER], source)


def _check_content(archive: CheckedZip, code: dict[str, bytes], source: str) -> None:
    members = archive.members
    versions = [members[name] for name in sorted(_VERSIONS & members.keys())]
    if (
        len(versions) != 1
        or not _VERSION.fullmatch(versions[0])
        or members.get("byteorder", b"little")
        not in (
            b"little",
            b"big",
        )
    ):
        raise ModelError(
            f"{source}: the version or the byte order is damaged. Download or export the model again"
        )
    constants = read_pickle(
        members["constants.pkl"], members, "constants", allowed_name, f"{source}: constants.pkl"
    )
    network = read_pickle(members["data.pkl"], members, "data", allowed_name, f"{source}: data.pkl")
    classes = check_code(code, source)
    if not isinstance(constants, tuple) or not all(isinstance(value, Tensor) for value in constants):
        raise ModelError(f"{source}: constants.pkl holds more than tensors; the file is not opened")
    try:
        check_values(network, classes)
    except ValueError as error:
        raise ModelError(
            f"{source}: data.pkl does not fit the code: {error}; the file is not opened"
        ) from None


class TorchScriptEngine:
    """A loaded TorchScript network.

    Args:
        archive: already checked by :func:`read_card`.
        device: "cpu" or "cuda".
        source: the file, for messages.
    """

    def __init__(self, archive: CheckedZip, device: str, source: str) -> None:
        import torch

        content = write_canonical(
            "model", {name: value for name, value in archive.members.items() if _KEPT.fullmatch(name)}
        )
        with _quiet():
            try:
                self._module = torch.jit.load(  # type: ignore[no-untyped-call]
                    io.BytesIO(content), map_location=device
                ).eval()
            except Exception as error:
                raise ModelError(
                    f"{source}: torch {torch.__version__} cannot load the archive ({first_line(error)}). "
                    "Export it again"
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
