"""Kinds of models, one file each; `archgym.proxy.kind` finds them here."""
