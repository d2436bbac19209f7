"""The pocket effect: the serial register holds charge back and gives it out pixels later.

`law` says how much, `estimate` measures it on images, `product` keeps it in files. docs/pocket.md
has the equations.
"""
