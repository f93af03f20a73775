"""The state of a model as JSON-compatible data, and back."""

from base64 import b64decode, b64encode
from dataclasses import fields
from typing import Any

import numpy as np

from bighub_langgraph.local.scoring.features import Label, Scales
from bighub_langgraph.local.scoring.novelty import Familiarity, FieldContents, NumberRange
from bighub_langgraph.local.scoring.precedents import Precedent, Precedents
from bighub_langgraph.local.scoring.rate_changes import RateChanges
from bighub_langgraph.local.scoring.regression import Example, Regression
from bighub_langgraph.local.scoring.risk_limit import AutomationMonitor, DriftDetector, RiskLimit
from bighub_langgraph.local.scoring.risk_model import ActionState, DomainState, Model
from bighub_langgraph.local.settings import Settings

_ARRAY, _CLASS = "array", "class"
_CLASSES: dict[str, Any] = {
    each.__name__: each
    for each in (
        *(ActionState, AutomationMonitor, DomainState, DriftDetector, Example, Familiarity),
        *(FieldContents, Precedents, RateChanges, Regression, RiskLimit, Scales, NumberRange),
    )
}


def dump_model(model: Model) -> Any:
    """Return everything a model has learned as JSON-compatible data."""
    return [model.good, model.bad, encode(model.domains)]


def load_model(settings: Settings, data: Any) -> Model:
    """Return the model whose state `dump_model` returned."""
    model = Model(settings)
    model.good, model.bad, model.domains = data[0], data[1], decode(data[2])
    return model


def encode(value: Any) -> Any:
    """Return a part of a model's state as JSON-compatible data."""
    match value:
        case np.ndarray():
            data = b64encode(value.tobytes()).decode()
            return {_ARRAY: [value.dtype.str, value.shape, data]}
        case dict():
            # The keys may be any text, so that they are kept apart from ours.
            return {_CLASS: "dict", "items": {key: encode(each) for key, each in value.items()}}
        case Precedent():
            return {_CLASS: "Precedent", "items": value}
        case list():
            return [encode(each) for each in value]
        case _ if type(value).__name__ in _CLASSES:
            items = {each.name: encode(getattr(value, each.name)) for each in fields(value)}
            return {_CLASS: type(value).__name__, "items": items}
        case _:
            return value


def decode(data: Any) -> Any:
    """Return the part of a model's state that `encode` returned."""
    match data:
        case {"array": [dtype, shape, text]}:
            return np.frombuffer(b64decode(text), dtype).reshape(shape).copy()
        case {"class": "Precedent", "items": items}:
            precedent = Precedent(*items)
            return precedent._replace(label=Label(precedent.label))
        case {"class": name, "items": items}:
            values = {key: decode(each) for key, each in items.items()}
            return values if name == "dict" else _CLASSES[name](**values)
        case list():
            return [decode(each) for each in data]
        case _:
            return data
