"""Kinds of models, one file each; `archgym.proxy.model` finds them here."""
