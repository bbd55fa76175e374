"""The engine: rows in, records out, one snapshot a row.

ports      the seam: what the engine needs of the world, and the Executor
row        what the engine remembers of a row that is not at rest
worklist   the rows to do of one strand, in a temporary file
access     one credential at one host: signs, sends, paces every action
ask        questions to the cloud, paged; an answer is whole or a part, and absence needs a whole
attempt    one attempt, top to bottom
snapshots  what rows were given, packed, and held against what the cloud shows
watch      accepted snapshots, until each is ready or gone
rollback   accepted snapshots, until each is deleted or left with its reason
reopen     a ledger taken up without its manifest: settle, wait, rollback
evidence   which snapshots are a row's
looks      when each doubt is asked about next
settle     doubts, until the cloud has answered
preflight  what must be known before a row's first intent
turns      rows of one disk go one after the other
slots      how many calls may be out, how many rows on their way
halts      stopped regions and accounts, and the rows that wait to know whether it is them
lane       one quota: strands, slots, deferrals, breakers
stopping   signals and other reasons to stop feeding
series     which ledger a command means, where each day or each run has its own
supersede  an unfinished night makes room for the next one
connections  the doors of this process: transport, gates, accesses
local      runs the lanes in this process
"""
