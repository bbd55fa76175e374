"""The cloud: its signature, its calls, its codes, and the two doors that reach it.

tc3          F0  TC3-HMAC-SHA256, in stages
actions      F0  body bytes out, answers of calls that make something in
codes        F0  every error code: verdict, scope, remedy
faults       F0  a reply or fault -> what it means
endpoints    F0  endpoints, hosts, and what the cloud counts calls by
sources      F1  the places that one credential is read from
roles        F1  calls of STS: the keys of a role, and whose a credential is
credentials  F1  which of them a profile has, read again before it expires
pages        F0  what the cloud's lists show: snapshots, disks, backup points
proxies      F1  the environment's proxy for an endpoint
wire         F1  our bytes on aiohttp's connections; all that it does not document
transport    F1  the client's door: SignedRequest -> Reply | Fault
"""
