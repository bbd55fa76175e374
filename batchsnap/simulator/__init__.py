"""The local cloud: a server that behaves like the snapshot API, faults included.

Users rehearse with it and every end-to-end test judges by it, so it shares no code with
`batchsnap.cloud`: what the client signs and reads is checked by somebody else.

scenario  F0  how this cloud behaves, down to the script of faults: one frozen value, with its JSON;
              those that have a name
outcomes  F0  (scenario, call) -> what happens to that call; chance is a hash of seed and labels
resources F0  disks, backup points and snapshots as the API prints them
requests  F0  what a request may ask: bodies, filters, order and pages
inventory F0  which disks and backup points exist
world     F0  what exists: create, list, delete
account   F0  one account: call limits, tries, outcomes and the world behind two questions
auth      F0  who may ask: the server's half of TC3-HMAC-SHA256, keys, headers
respond   F1  an outcome, as it looks on the socket
control   F1  the doors for people and tests, and the metadata service
server    F1  the aiohttp server: `serve`, and `EmbeddedSimulator` in a thread of its own
"""
