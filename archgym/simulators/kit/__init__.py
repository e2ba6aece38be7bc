"""Everything of the package that a simulator uses, whether it ships here or is a plug-in.

A simulator imports its own folder, this kit, simulators that its `__init__` declares in `USES`, and
two libraries: `archgym.physics` and `archgym.traces`. Parts of its floor plan have doors of their
own: `kit.kernels` for compiled code, `kit.rules` for policies as code, `kit.control` for runs that
stop, `kit.exports` for formats of other tools, `kit.composition` for simulators of several parts,
and `archgym.cli.kit` for commands.
"""

from archgym.checks import as_number as as_number
from archgym.checks import check_choice as check_choice
from archgym.checks import check_number as check_number
from archgym.checks import check_whole as check_whole
from archgym.checks import parse_whole as parse_whole
from archgym.checks import require as require
from archgym.checks import whole as whole
from archgym.errors import ArchGymError as ArchGymError
from archgym.errors import FileFormatError as FileFormatError
from archgym.errors import InvalidArgumentError as InvalidArgumentError
from archgym.errors import InvalidDesignError as InvalidDesignError
from archgym.errors import InvalidSpaceError as InvalidSpaceError
from archgym.errors import MissingExtraError as MissingExtraError
from archgym.errors import SimulatorError as SimulatorError
from archgym.errors import StorageError as StorageError
from archgym.errors import UnknownNameError as UnknownNameError
from archgym.errors import check_known as check_known
from archgym.errors import error_text as error_text
from archgym.errors import sentence as sentence
from archgym.errors import unknown_name as unknown_name
from archgym.evaluation.capabilities import Bottleneck as Bottleneck
from archgym.evaluation.capabilities import Files as Files
from archgym.evaluation.capabilities import facts_about as facts_about
from archgym.evaluation.conservation import Columns as Columns
from archgym.evaluation.conservation import Laws as Laws
from archgym.evaluation.limits import Limit as Limit
from archgym.evaluation.limits import parse_limits as parse_limits
from archgym.evaluation.metrics import Goal as Goal
from archgym.evaluation.metrics import Metrics as Metrics
from archgym.evaluation.metrics import MetricSpec as MetricSpec
from archgym.evaluation.objective import Objective as Objective
from archgym.evaluation.objective import Term as Term
from archgym.evaluation.options import Option as Option
from archgym.evaluation.options import declared as declared
from archgym.evaluation.options import make_simulator as make_simulator
from archgym.evaluation.restriction import unrestricted as unrestricted
from archgym.evaluation.simulator import FEASIBLE as FEASIBLE
from archgym.evaluation.simulator import BatchResult as BatchResult
from archgym.evaluation.simulator import Simulator as Simulator
from archgym.evaluation.simulator import Workload as Workload
from archgym.evaluation.simulator import default_workload as default_workload
from archgym.evaluation.simulator import derived_values as derived_values
from archgym.evaluation.simulator import require_kept as require_kept
from archgym.evaluation.spec import SimulatorSpec as SimulatorSpec
from archgym.files.archive import read_archive as read_archive
from archgym.files.archive import write_archive as write_archive
from archgym.files.json_types import Whole as Whole
from archgym.files.json_types import typed as typed
from archgym.files.remote import command_line as command_line
from archgym.files.storage import open_file as open_file
from archgym.files.storage import storage_errors as storage_errors
from archgym.files.storage import write_atomic as write_atomic
from archgym.files.yaml_document import Document as Document
from archgym.files.yaml_document import Node as Node
from archgym.files.yaml_document import node_of as node_of
from archgym.files.yaml_document import read_document as read_document
from archgym.files.yaml_document import read_json as read_json
from archgym.files.yaml_document import read_text as read_text
from archgym.runtime.reductions import report_loss as report_loss
from archgym.runtime.reductions import report_reduction as report_reduction
from archgym.simulators.kit.base import KitSimulator as KitSimulator
from archgym.simulators.kit.base import RowSimulator as RowSimulator
from archgym.spaces.design import Condition as Condition
from archgym.spaces.design import Constraint as Constraint
from archgym.spaces.display import cell as cell
from archgym.spaces.expression import Expression as Expression
from archgym.spaces.expression import P as P
from archgym.spaces.parameter import Categorical as Categorical
from archgym.spaces.parameter import Factorisation as Factorisation
from archgym.spaces.parameter import Integer as Integer
from archgym.spaces.parameter import Ordinal as Ordinal
from archgym.spaces.parameter import Parameter as Parameter
from archgym.spaces.parameter import Permutation as Permutation
from archgym.spaces.parameter import PowerOfTwo as PowerOfTwo
from archgym.spaces.parameter import Real as Real
from archgym.spaces.parameter import Value as Value
from archgym.spaces.space import DesignSpace as DesignSpace
from archgym.spaces.symmetry import CanonicalForm as CanonicalForm
from archgym.spaces.symmetry import Outline as Outline
from archgym.spaces.symmetry import register_canonical_form as register_canonical_form
from archgym.spaces.texts import value_from_text as value_from_text
from archgym.spaces.texts import with_values as with_values
