"""Names of what was given as an object in Python, and not by a name that means the same elsewhere."""

#: Of arrays, in ``data.name``; of a ``torch.nn.Module``, in ``model.name``.
ARRAYS, MODULE = "arrays:", "module:"
