"""What the Snakefile needs to know: configuration, images and their files, masters, code.

Plain Python without a rule in it, so that tests call it as the Snakefile does. It is read at every
start of Snakemake, in each job again: only the standard library, PyYAML and jsonschema, and no file
of an image is opened.
"""
