"""The local cloud: a server that behaves like the snapshot API, faults included.

Users rehearse with it and every end-to-end test judges by it, so it shares no code with
`batchsnap.cloud`: what the client signs and reads is checked by somebody else.

dice      F0  pseudo-randomness without a generator: a hash of the seed and some labels
script    F0  the faults by name, and which call meets which
scenario  F0  how this cloud behaves: one frozen value, presets, JSON
fates     F0  (scenario, call) -> what happens to that call
meter     F0  calls in any one second, and who is refused for it
stock     F0  disks, backup points and snapshots as the API prints them
bodies    F0  what a request body may hold
shelf     F0  which disks and backup points exist
listing   F0  filters, order and pages
world     F0  what exists: create, list, delete
cloud     F0  one account: meters, tries, fates and the world behind one question
signature F0  the server's half of TC3-HMAC-SHA256
desk      F0  the checks between a request's headers and its action
play      F1  a fate, played on the socket
control   F1  the doors for people and tests, and the metadata service
app       F1  the aiohttp server: `serve`
embedded  F1  the same in a thread of its own: `EmbeddedSimulator`
"""
