"""The stack of one machine: which processes it has, who keeps them running, and how to find them."""
