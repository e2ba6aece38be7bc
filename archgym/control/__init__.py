"""Control: policies that change settings while a program runs."""
