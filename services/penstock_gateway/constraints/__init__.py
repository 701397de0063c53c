"""Constraints on outputs: whether they can be compiled, before anybody generates for them."""
