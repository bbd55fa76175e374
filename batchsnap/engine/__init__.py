"""The engine: rows in, records out, one snapshot a row.

A row's life, as it is read:
dispatcher one quota: each row's life in one coroutine, from its first turn until it is at rest
attempt    one attempt, top to bottom
settle     a doubt, from its fault until the cloud has answered
watch      accepted snapshots, until each is ready or gone
rollback   accepted snapshots, until each is deleted or left with its reason

What that rests on:
executor   a dispatcher for each quota of a run, in this process
makers     the two calls that make a snapshot, and everything in which they differ
context    what all attempts of a run share
row        what is remembered of a row that is not at rest, and where it stands
turns      which row of a quota goes next, and when the quota rests
queue      the rows of one profile and region, and who has a disk
worklist   the rows to do of one queue, in a temporary file
feeder     what earlier lives left, then the worklist, a little ahead
preflight  what must be known before a row's first intent
fresh      whether a disk has a snapshot young enough
limits     what may not start: the canary, --max-*, and for want of a slot
halts      stopped regions and accounts, and the rows that wait to know whether it is them
looks      when each doubt is asked about next, ten disks a question
evidence   which snapshots are a row's
snapshots  what rows were given, packed, and held against what the cloud shows
"""
