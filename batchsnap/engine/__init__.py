"""The engine: rows in, records out, one snapshot a row.

A row's life, as it is read:
dispatcher one quota: each row's life in one coroutine, from its first turn until it is at rest
attempt    one attempt, top to bottom

What that rests on (what became of a row is asked in `settling`):
executor   a dispatcher for each quota of a run, in this process
turns      which row of a quota goes next, and when the quota rests
queue      the rows of one profile and region, and who has a disk
worklist   the rows to do of one queue, in a temporary file
feeder     what earlier lives left, then the worklist, a little ahead
preflight  what must be known before a row's first intent
limits     what may not start: the canary, --max-*, and for want of a slot
halts      stopped regions and accounts, and the rows that wait to know whether it is them
"""
