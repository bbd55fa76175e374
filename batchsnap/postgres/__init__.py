"""The ledger in PostgreSQL, as far as it knows nothing of engines: what is written, and by whom.

A ledger's records are split by quota (whose credential, which host). Each quota has one owner at a
time: a process that holds the pair's advisory lock, numbers the quota's records itself, and may
send only while its lease holds. Three fences, each for what the others let through:

- the lock says who lives; it is free at once when a process dies;
- the primary key (quota, seq): a claim writes `claimed` as record n+1, so from then on nothing that
  a former owner appends can become durable, whatever became of its lock;
- the lease: what was durable before needs no connection any more to be sent, so it is stopped at
  the gate, unless the database has told within two seconds that all is still ours.

address   F0  what an address says; a password in it is refused
schema    F0  tables, grants, statements, the numbers of the locks
door      F1  psycopg: connections, and what their errors mean
lease     F1  the right to send, as long as answers come
hold      F1  what is owned of a quota; records that become durable together
recovery  F1  what a session asks and writes, what became of an unanswered group, outages
session   F1  the one writing session of a process: group commit, heartbeat, reconnection
sink      F1  one quota's part of a ledger, as the engine appends to it
whole     F1  a whole ledger taken up by one process: to settle, to wait, to roll back
reading   F1  the list of ledgers, the records of one, for readers that lock nothing
store     F1  a ledger by its address, and its copy as one file
setup     F1  schema and grants, once a database
"""
