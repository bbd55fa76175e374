"""Settling: what is remembered of a row that is not at rest, and how it is found out what became of
it. The engine sends; here it is asked.

row        what is remembered of a row that is not at rest, and what all rows of a run share
makers     the two calls that make a snapshot, and everything in which they differ
evidence   which snapshots are a row's, and whether its disk has one young enough
looks      when each doubt is asked about next, ten disks a question
settle     a doubt, from its fault until the cloud has answered
snapshots  what rows were given, packed, and held against what the cloud shows
watch      accepted snapshots, until each is ready or gone
rollback   accepted snapshots, until each is deleted or left with its reason
"""
