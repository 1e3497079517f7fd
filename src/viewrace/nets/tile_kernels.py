"""The Triton kernels of tiles.py. A row is one class of one seed; weights are (row, neuron, dim) over rho, inputs (patch x place,
dim), both padded with zeros to D dimensions; act and act' are those of activation.py. A NaN stays one: it compares as false."""

import triton
import triton.language as tl

__all__ = ["gather", "respond", "weigh"]


@triton.jit
def _unit(above):
    """min(z / rho, 1) of max(z / rho, 0)."""
    return tl.where(above > 1, 1.0, above)


@triton.jit
def _power(unit, Q: tl.constexpr):
    result = unit
    for _ in tl.static_range(Q - 1):
        result = result * unit
    return result


@triton.jit
def _slope(scaled, Q: tl.constexpr):
    return tl.where(scaled > 0, 1.0, 0.0) if Q == 1 else _power(_unit(tl.where(scaled < 0, 0.0, scaled)), Q - 1)


@triton.jit
def _products(
    weight, inputs, row, rows, example, examples, TALL: tl.constexpr, WIDE: tl.constexpr, D: tl.constexpr, PART: tl.constexpr,
    EXACT: tl.constexpr,
):  # fmt: skip
    """(TALL, WIDE) products of weights (row, D) that begin at `weight` and inputs (example, D) at `inputs`, PART by PART."""
    total = tl.zeros((TALL, WIDE), tl.float32)
    for start in range(0, D, PART):
        along = start + tl.arange(0, PART)
        mine = tl.load(weight[:, None] + along[None, :], mask=row[:, None] < rows, other=0.0)
        shown = tl.load(inputs[None, :] + along[:, None], mask=example[None, :] < examples, other=0.0)
        total = tl.dot(mine, shown, total, input_precision=EXACT)
    return total


@triton.jit
def respond(
    weight, inputs, logits, rows, neurons, part, patches, examples, places, factor,
    Q: tl.constexpr, D: tl.constexpr, PART: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """logits (split, row, example): factor = rho / q times the sum of q act / rho over `part` neurons and all patches."""
    row = tl.program_id(0) * TALL + tl.arange(0, TALL)
    example = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    split = tl.program_id(2)
    along = tl.arange(0, PART)
    total = tl.zeros((TALL, WIDE), tl.float32)
    for neuron in range(split * part, min(neurons, (split + 1) * part)):
        lines = weight + (row.to(tl.int64) * neurons + neuron) * D
        if D == PART:
            mine = tl.load(lines[:, None] + along[None, :], mask=row[:, None] < rows, other=0.0)
        for patch in range(patches):
            at = inputs + (patch * places + example).to(tl.int64) * D
            if D == PART:
                shown = tl.load(at[None, :] + along[:, None], mask=example[None, :] < examples, other=0.0)
                scaled = tl.dot(mine, shown, input_precision=EXACT)
            else:
                scaled = _products(lines, at, row, rows, example, examples, TALL, WIDE, D, PART, EXACT)
            above = tl.where(scaled < 0, 0.0, scaled)
            if Q == 1:
                total += above
            else:
                unit = _unit(above)
                total += _power(unit, Q) + Q * (above - unit)
    at = logits + (split.to(tl.int64) * rows + row)[:, None] * examples + example[None, :]
    tl.store(at, factor * total, mask=(row[:, None] < rows) & (example[None, :] < examples))


@triton.jit
def gather(
    weight, inputs, residual, gradient, rows, neurons, dim, patches, examples, places, part,
    Q: tl.constexpr, D: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """gradient (split, row, neuron, dim): the sum of act' x residual x input over all patches and `part` blocks of examples."""
    row = tl.program_id(0) * TALL + tl.arange(0, TALL)
    neuron, split = tl.program_id(1), tl.program_id(2)
    along = tl.arange(0, D)
    lines = row.to(tl.int64) * neurons + neuron
    mine = tl.load(weight + lines[:, None] * D + along[None, :], mask=row[:, None] < rows, other=0.0)
    total = tl.zeros((TALL, D), tl.float32)
    for block in range(split * part, min((split + 1) * part, tl.cdiv(examples, WIDE))):
        example = block * WIDE + tl.arange(0, WIDE)
        inside = (row[:, None] < rows) & (example[None, :] < examples)
        own = tl.load(residual + row.to(tl.int64)[:, None] * examples + example[None, :], mask=inside, other=0.0)
        for patch in range(patches):
            at = inputs + (patch * places + example).to(tl.int64)[:, None] * D + along[None, :]
            shown = tl.load(at, mask=example[:, None] < examples, other=0.0)
            scaled = tl.dot(mine, tl.trans(shown), input_precision=EXACT)
            total = tl.dot((_slope(scaled, Q) * own).to(shown.dtype), shown, total, input_precision=EXACT)
    at = gradient + (split.to(tl.int64) * rows * neurons + lines)[:, None] * dim + along[None, :]
    tl.store(at, total, mask=(row[:, None] < rows) & (along[None, :] < dim))


@triton.jit
def weigh(
    weight, inputs, residual, weighed, rows, neurons, patches, examples, places,
    Q: tl.constexpr, D: tl.constexpr, PART: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """weighed (row, neuron, patch, place): act' x residual, 0 in the padding, in the format of the products."""
    row = tl.program_id(0) * TALL + tl.arange(0, TALL)
    example = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = (row[:, None] < rows) & (example[None, :] < examples)
    own = tl.load(residual + row.to(tl.int64)[:, None] * examples + example[None, :], mask=inside, other=0.0)
    lines = row.to(tl.int64) * neurons + tl.program_id(2)
    for patch in range(patches):
        at = inputs + (patch * places + example).to(tl.int64) * D
        scaled = _products(weight + lines * D, at, row, rows, example, examples, TALL, WIDE, D, PART, EXACT)
        to = weighed + (lines[:, None] * patches + patch) * places + example[None, :]
        tl.store(to, _slope(scaled, Q) * own, mask=(row[:, None] < rows) & (example[None, :] < places))
