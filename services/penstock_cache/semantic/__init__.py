"""Answers found by meaning: prompts as vectors, and how they are searched, compared and judged."""
