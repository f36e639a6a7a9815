"""Reproductions: one folder a paper, with its claims, its check and its table."""
