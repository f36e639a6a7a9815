"""Reproductions: one folder a paper, with its claims, the checks that compute our figures, and its page.

`claims.yaml` says what is claimed, `check*.py` computes our figures, `README.md` holds the table. The modules `claims`,
`run` and `page` read, compare and write; `neuroode claims` starts them.
"""
