"""Every algorithm that applies a network holds it the same way."""

import pytest

from mltrack_plugin.algorithms.model_algorithm import ModelAlgorithm
from mltrack_plugin.errors import ModelError
from mltrack_plugin.framework.algorithm import Algorithm
from mltrack_plugin.registry import available, find, registered_name


def _classes() -> list[type[Algorithm]]:
    found = [find("algorithm", name) for name in available("algorithm")]
    return [kind for kind in found if "model" in kind.Config.model_fields]


@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
def test_a_model_is_asked_for_only_after_it_is_loaded(kind):
    assert issubclass(kind, ModelAlgorithm)
    algorithm = kind(model="no-such-model")
    with pytest.raises(ModelError, match=r"'no-such-model' is not loaded: call initialize"):
        _ = algorithm.model
    with pytest.raises(ModelError, match="no-such-model"):
        algorithm.initialize()


def test_a_model_of_another_kind_is_refused_before_the_first_event():
    for kind in _classes():
        other = "encreg-trackml-10-50" if kind.kind != "hits" else "gnn-segments"
        with pytest.raises(ModelError, match=rf"but {registered_name(kind)} needs one that reads"):
            kind(model=other).initialize()
