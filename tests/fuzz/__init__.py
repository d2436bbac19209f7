"""Damaged inputs for every reader: each must end in one sentence or in the right answer.

`python -m fuzz --inputs 500 --seed 1`, with tests, tests/helpers and scripts on the path, is
`make fuzz`. `mutations` damage the bytes of a file, `targets` are readers with good files for them,
`driver` runs each case in a process of its own and judges it.
"""
