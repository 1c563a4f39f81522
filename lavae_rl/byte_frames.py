"""Expressions that convert frames of other types to uint8 with values 0 to 255, for error messages."""


def to_bytes(dtype: object, frames: str = "frames") -> str:
    """The expression that turns ``frames`` of a NumPy or PyTorch type into uint8, or of both cases what each needs."""
    name = str(dtype)
    kind = name.removeprefix("torch.")
    cast = "to(torch.uint8)" if name.startswith("torch.") else "astype(numpy.uint8)"
    if kind == "bool":
        return f"{frames}.{cast} * 255"
    if kind.startswith(("float", "bfloat")):
        return f"({frames} * 255).round().{cast} for values of 0 to 1, {frames}.{cast} for 0 to 255"
    if kind.startswith(("int", "uint")):
        return f"{frames}.{cast} for values of 0 to 255"
    return f"numpy.asarray({frames}, numpy.uint8) for values of 0 to 255"
