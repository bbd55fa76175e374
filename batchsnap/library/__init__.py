"""The library: what a program that embeds batchsnap calls. Its names are exported by `batchsnap`.

asked  what a program may ask of a run, and of which type
api    `run` to the end, `stream` record by record
"""
