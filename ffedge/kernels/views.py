"""Arrays at an offset of another array's memory, of another type and shape, without a copy.

NumPy's ``view`` and ``reshape`` do the same, but Numba's forms of them call run-time functions
that a microcontroller has not. Nothing is checked: offsets come from a plan. Views end with the
memory that they lie in, wherever that ends.

``bytes_at(array, offset)``, ``words_at(...)``
    uint8 or uint32 from element ``offset`` of any array, taken as flat; one dimension.

``vector_at(arena, offset, like, n)``, ``matrix_at(arena, offset, like, n, m)``,
``cube_at(..., n, m, k)``, ``panels_at(..., n, m, k, j)``
    of ``like``'s dtype (a NumPy scalar), at a byte offset of a flat uint8 array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .provider import COMPILES

#: Elements that a view of unknown length claims.
MANY = 0x7FFFFFF


def _plain_flat(dtype: type) -> Callable[..., Any]:
    def flat_at(array, offset):
        rest = array.reshape(-1)[offset:].view(np.uint8)
        size = np.dtype(dtype).itemsize
        return rest[: rest.size // size * size].view(dtype)

    return flat_at


def _plain_shaped() -> Callable[..., Any]:
    def shaped_at(arena, offset, like, *shape):
        size = int(np.prod(shape)) * like.itemsize
        return arena[offset : offset + size].view(like.dtype).reshape(shape)

    return shaped_at


def _array(context: Any, builder: Any, kind: Any, data: Any, shape: list[Any]) -> Any:
    """Numba's structure of a contiguous array of ``kind`` at address ``data``."""
    from numba.core import types
    from numba.np.arrayobj import populate_array

    intp = context.get_value_type(types.intp)
    size = intp(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides: list[Any] = []
    step = size
    for extent in reversed(shape):
        strides.insert(0, step)
        step = builder.mul(step, extent)
    array = context.make_array(kind)(context, builder)
    pointer = builder.bitcast(data, array.data.type)
    populate_array(array, pointer, shape, strides, size, None)
    return array._getvalue()


def _flat(code: str) -> Callable[..., Any]:
    from numba.core import types
    from numba.extending import intrinsic

    kind = types.Array(getattr(types, code), 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        data = builder.gep(array.data, [args[1]])
        many = context.get_value_type(types.intp)(MANY)
        return _array(context, builder, kind, data, [many])

    @intrinsic
    def flat_at(typing, array, offset):
        return kind(array, types.intp), codegen

    return flat_at


def _shaped(ndim: int) -> Callable[..., Any]:
    from numba.core import types
    from numba.extending import intrinsic

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arena = context.make_array(signature.args[0])(context, builder, args[0])
        data = builder.gep(arena.data, [args[1]])
        return _array(context, builder, signature.return_type, data, list(args[3:]))

    def typed(arena: Any, like: Any) -> Any:
        kind = types.Array(like, ndim, "C")
        return kind(arena, types.intp, like, *[types.intp] * ndim), codegen

    if ndim == 1:

        @intrinsic
        def shaped_at(typing, arena, offset, like, n):
            return typed(arena, like)

    elif ndim == 2:

        @intrinsic
        def shaped_at(typing, arena, offset, like, n, m):
            return typed(arena, like)

    elif ndim == 3:

        @intrinsic
        def shaped_at(typing, arena, offset, like, n, m, k):
            return typed(arena, like)

    else:

        @intrinsic
        def shaped_at(typing, arena, offset, like, n, m, k, j):
            return typed(arena, like)

    return shaped_at


if COMPILES:
    bytes_at, words_at = _flat("uint8"), _flat("uint32")
    vector_at, matrix_at, cube_at, panels_at = (_shaped(ndim) for ndim in (1, 2, 3, 4))
else:
    bytes_at, words_at = _plain_flat(np.uint8), _plain_flat(np.uint32)
    vector_at = matrix_at = cube_at = panels_at = _plain_shaped()
