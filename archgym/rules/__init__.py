"""Policies as code: hardware policies that users write, checked, compiled and measured."""
