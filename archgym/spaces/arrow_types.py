"""Types of columns that hold a parameter's values, in datasets and in tables."""

from typing import TYPE_CHECKING

import numpy as np

from archgym.spaces.parameter import Categorical, Factorisation, Parameter, Permutation

if TYPE_CHECKING:
    import pyarrow as pa

# What Parquet calls the members of a list.
_ELEMENT = "element"
# chosen: as many values as tell whole numbers from others.
_MAX_LOOKED_AT = 2**16


def word_type() -> "pa.DataType":
    """Return the type of columns whose texts repeat."""
    import pyarrow as pa

    return pa.dictionary(pa.int32(), pa.string())


def parameter_type(parameter: Parameter) -> "pa.DataType":
    """Return the type of a column of this parameter's values."""
    import pyarrow as pa

    if isinstance(parameter, Categorical) and parameter.is_text:
        return word_type()
    if isinstance(parameter, Permutation):
        return pa.list_(pa.field(_ELEMENT, pa.string()))
    if isinstance(parameter, Factorisation):
        return pa.list_(pa.field(_ELEMENT, pa.int64()))
    values = parameter.array(np.arange(min(parameter.size, _MAX_LOOKED_AT)))
    return pa.int64() if values.dtype.kind in "iu" else pa.float64()
