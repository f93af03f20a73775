"""`typing.TypedDict` for pydantic on Python 3.11, which reads only that of `typing_extensions`.

To be deleted together with the support of Python 3.11.
"""

import functools
import operator
import types
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    get_args,
    get_origin,
    get_type_hints,
)

from typing_extensions import TypedDict, is_typeddict

__all__ = ["readable"]


def readable(hint: Any) -> Any:
    """Give a type with every `typing.TypedDict` in it replaced by an equal one pydantic reads."""
    if is_typeddict(hint):
        return _rebuilt(hint) if type(hint).__module__ == "typing" else hint
    origin, parts = get_origin(hint), get_args(hint)
    if not parts or origin is Literal:
        return hint
    if origin is Annotated:
        return Annotated[(readable(parts[0]), *hint.__metadata__)]
    replaced = tuple(readable(part) for part in parts)
    if replaced == parts:
        return hint
    if isinstance(hint, types.UnionType):
        return functools.reduce(operator.or_, replaced)
    return origin[replaced] if isinstance(hint, types.GenericAlias) else hint.copy_with(replaced)


@functools.cache
def _rebuilt(hint: Any) -> Any:
    fields = {
        name: (Required if name in hint.__required_keys__ else NotRequired)[readable(part)]
        for name, part in get_type_hints(hint, include_extras=True).items()
    }
    return TypedDict(hint.__name__, fields)  # type: ignore[operator]  # the functional form
