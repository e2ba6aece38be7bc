"""Names that the modules of this package share, from the evidence of all simulators."""

from evidence.recorded import read_arrays as read_arrays
from evidence.recorded import read_json as read_json
from evidence.recorded import read_table as read_table
from evidence.recorded import reading as reading
from evidence.validation import Errors as Errors
from evidence.validation import Progress as Progress
from evidence.validation import Row as Row
