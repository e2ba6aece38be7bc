"""Rules: hardware policies that users write as code, checked, compiled and measured."""
