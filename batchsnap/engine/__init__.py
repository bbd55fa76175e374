"""The engine: rows in, records out, one snapshot a row.

row        what the engine remembers of a row that is not at rest
worklist   the rows to do of one strand, in a temporary file
attempt    one attempt, top to bottom
snapshots  what rows were given, packed, and held against what the cloud shows
watch      accepted snapshots, until each is ready or gone
rollback   accepted snapshots, until each is deleted or left with its reason
evidence   which snapshots are a row's
looks      when each doubt is asked about next
settle     doubts, until the cloud has answered
fresh      whether a disk has a snapshot young enough
preflight  what must be known before a row's first intent
feeder     what earlier lives left, then the worklist, a little ahead
turns      rows of one disk go one after the other
slots      how many calls may be out, how many rows on their way
brakes     the operator's: a canary first, so many being made, so many failures
halts      stopped regions and accounts, and the rows that wait to know whether it is them
strand     the rows of one profile and region
lane       one quota: strands, slots, deferrals, breakers
executor   runs the lanes in this process
"""
