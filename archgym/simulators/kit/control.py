"""Door for runs that stop and continue, and for tasks of policies that act on them."""

from archgym.control.declaration import Control as Control
from archgym.control.declaration import RuleView as RuleView
from archgym.control.runs import Counter as Counter
from archgym.control.runs import Floats as Floats
from archgym.control.runs import Part as Part
from archgym.control.runs import Run as Run
from archgym.control.runs import completed as completed
from archgym.control.tasks import ControlTask as ControlTask
from archgym.control.tasks import episodes_of as episodes_of
from archgym.control.tasks import joined_names as joined_names
from archgym.control.tasks import product as product
from archgym.control.tasks import seed_of as seed_of
from archgym.control.tasks import turns as turns
from archgym.runtime.branches import branch_of as branch_of
from archgym.runtime.branches import copied as copied
