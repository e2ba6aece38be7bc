"""Evidence for the simulators: recorded and published numbers against their answers.

Each folder compares one simulator; `archgym validate SIMULATOR` runs it from a checkout. It is no
part of the installed package.
"""
