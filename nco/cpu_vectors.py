"""Vectors of 16 numbers for kernels that numba compiles for a CPU.

Numba leaves it to LLVM to find out which loops can be done in vectors, and for short inner loops
over arrays that might overlap it does not (measured: 5 times slower). Here a vector is a value with
arithmetic, so a kernel says what it means. LLVM splits 16 numbers into what the machine has: one
register with AVX-512, two with AVX2, four with NEON.

Types are not checked at run time: numba reads the functions itself. What is compiled is kept on
disk by the date of `nco.cpu_kernel`: after a change here, touch that file.
"""

from __future__ import annotations

import operator
from typing import Any, no_type_check

import llvmlite.ir as ir
import numpy as np
from numba import types
from numba.extending import intrinsic, models, overload, register_model

LANES = 16
FLOAT, INT = ir.FloatType(), ir.IntType(32)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)
FAST = ("fast",)
"""Sums may be made in any order, and no number is NaN or infinite."""


class VectorType(types.Type):
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"Vector{LANES}")


VECTOR = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    """A vector is LLVM's own."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


def _constant(number: float) -> ir.Constant:
    # rounded to float32 first: LLVM takes no other digits
    return ir.Constant(FLOATS, [float(np.float32(number))] * LANES)


def _integers(number: int) -> ir.Constant:
    return ir.Constant(INTS, [number] * LANES)


def _call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """One of LLVM's own functions."""
    module = builder.module
    kind = ir.FunctionType(result, [a.type for a in arguments])
    function = module.globals.get(name) or ir.Function(module, kind, name)
    return builder.call(function, arguments, fastmath=FAST)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), FLOATS.as_pointer())


@intrinsic
@no_type_check
def load(typing, array, index):
    """16 numbers of a contiguous float32 array from a flat index on."""

    def code(context, builder, signature, args):
        return builder.load(_address(context, builder, signature.args[0], *args), align=4)

    return VECTOR(array, types.intp), code


@intrinsic
@no_type_check
def store(typing, array, index, vector):
    """The reverse of `load`."""

    def code(context, builder, signature, args):
        where = _address(context, builder, signature.args[0], *args[:2])
        builder.store(args[2], where, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), code


@intrinsic
@no_type_check
def splat(typing, number):
    """A float32 number 16 times."""

    def code(context, builder, signature, args):
        nothing = ir.Constant(FLOATS, ir.Undefined)
        first = builder.insert_element(nothing, args[0], ir.Constant(INT, 0))
        return builder.shuffle_vector(first, nothing, _integers(0))

    return VECTOR(types.float32), code


def _arithmetic(instruction: str) -> Any:
    @intrinsic
    @no_type_check
    def operation(typing, a, b):
        def code(context, builder, signature, args):
            return getattr(builder, instruction)(*args, flags=FAST)

        return VECTOR(VECTOR, VECTOR), code

    return operation


def _define(python: Any, instruction: str) -> None:
    """Let an operator of Python work on vectors."""
    operation = _arithmetic(instruction)

    @overload(python, inline="always")
    @no_type_check
    def chosen(a, b):
        if isinstance(a, VectorType) and isinstance(b, VectorType):
            return lambda a, b: operation(a, b)
        return None


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
_define(operator.truediv, "fdiv")


@intrinsic
@no_type_check
def maximum(typing, a, b):
    """The larger of each pair."""

    def code(context, builder, signature, args):
        return _call(builder, "llvm.maxnum.v16f32", FLOATS, list(args))

    return VECTOR(VECTOR, VECTOR), code


@intrinsic
@no_type_check
def total(typing, vector):
    """The sum of the 16 numbers."""

    def code(context, builder, signature, args):
        zero = ir.Constant(FLOAT, -0.0)
        return _call(builder, "llvm.vector.reduce.fadd.v16f32", FLOAT, [zero, args[0]])

    return types.float32(VECTOR), code


@intrinsic
@no_type_check
def largest(typing, vector):
    """The largest of the 16 numbers."""

    def code(context, builder, signature, args):
        return _call(builder, "llvm.vector.reduce.fmax.v16f32", FLOAT, [args[0]])

    return types.float32(VECTOR), code


TAYLOR = tuple(float(np.log(2) ** k / np.prod(np.arange(1, k + 1))) for k in range(7))
"""Of 2^x."""


def _exp(builder: Any, x: Any) -> Any:
    """2^(i + f), i the integer next to x / ln 2: the power of i goes into the exponent's bits."""
    scaled = builder.fmul(x, _constant(1 / np.log(2)), flags=FAST)
    # below it the result would be no normal number; it is 1e-38 instead of 0
    scaled = _call(builder, "llvm.maxnum.v16f32", FLOATS, [scaled, _constant(-126.0)])
    # x <= 0, so cutting off the fraction of one half less rounds
    whole = builder.fptosi(builder.fsub(scaled, _constant(0.5), flags=FAST), INTS)
    fraction = builder.fsub(scaled, builder.sitofp(whole, FLOATS), flags=FAST)
    power = _constant(TAYLOR[-1])
    for term in reversed(TAYLOR[:-1]):
        power = builder.fadd(builder.fmul(power, fraction, flags=FAST), _constant(term), flags=FAST)
    bits = builder.shl(builder.add(whole, _integers(127)), _integers(23))
    return builder.fmul(power, builder.bitcast(bits, FLOATS), flags=FAST)


@intrinsic
@no_type_check
def exp(typing, vector):
    """e^x for x <= 0, to 2e-7 of its value."""

    def code(context, builder, signature, args):
        return _exp(builder, args[0])

    return VECTOR(VECTOR), code


@intrinsic
@no_type_check
def tanh(typing, vector):
    """(1 - e^(-2|x|)) / (1 + e^(-2|x|)), with the sign of x."""

    def code(context, builder, signature, args):
        size = _call(builder, "llvm.fabs.v16f32", FLOATS, [args[0]])
        small = _exp(builder, builder.fmul(size, _constant(-2.0), flags=FAST))
        one = _constant(1.0)
        up = builder.fsub(one, small, flags=FAST)
        down = builder.fadd(one, small, flags=FAST)
        ratio = builder.fdiv(up, down, flags=FAST)
        return _call(builder, "llvm.copysign.v16f32", FLOATS, [ratio, args[0]])

    return VECTOR(VECTOR), code
