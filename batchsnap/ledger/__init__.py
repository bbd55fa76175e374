"""The ledger: the one truth of a run, append-only JSON lines, in a file or behind another Store.

Every line is one record: UTF-8 JSON, `crc` last, ended by a newline. `crc` is the CRC-32 of the
line as it would read without the member: `{"a":1,"crc":N}` is checked as `{"a":1}`.

Line 1 is the birth certificate, event `run`: v, run_id, tool, manifest (path, sha256, rows),
endpoint, simulated, settings, at, home (path, inode, generation: the file it was born as). Records
of the whole run are `resumed` (settings given anew, manifest, gone: the keys that the newest
manifest no longer has, home: the file that is written to from here on, recovered: what a repair
cut, or why records may be missing) and `finished` (exit; superseded_by: the ledger for which an
unfinished run was closed). All others are records of one row; one without a key and of another
event is a later version's, and ignored.

| field | holds |
|---|---|
| seq | 1, 2, 3 … without a gap; the first line counts as 0 |
| synced | highest seq known durable when this record was written |
| event | see `lifecycle`: what happened to the row |
| key | the row's identity |
| disk_id, disk_backup_id, region, profile | of the row, null where absent |
| attempt | number of the try this record belongs to, from 1; 0 before any |
| at | UTC, milliseconds |
| snapshot_name, snapshot_id, request_id | as they apply |
| baseline | ids of same-named snapshots on the disk before the first intent (rows with own names) |
| code, message, verdict, scope | of an outcome |
| not_before | UTC; a deferred row is not sent sooner |
| sent_at | UTC, when the attempt of an outcome was sent |
| latency_ms | from the first byte out to the last byte in; absent where nothing was sent |
| found, final, evidence | of `settled`: whether the snapshot exists, whether this is the last |
|   | question of a row that was sent again, and what the cloud showed; a last question with a |
|   | code proved nothing |
| snapshot_ids | of `doubled`: every snapshot found for this one row |

record  F0  record <-> line, and the small form in which many are kept
scan    F0  lines -> records: how far a ledger is believed; torn against damaged
replay  F0  records -> where every row stands, and what the run came to: the one fold
tally   F0  the sums in it: calls, halts, lives, the worst second, the pace
disk    F1  the system calls, and the thread that makes them: lock, durable copy, repair
gap     F1  which file this is, and whether the ledger's silence about a row is a proof
store   F1  the one writer: birth, recovery, append, group commit
ports   F1  what a ledger is to those who use it: Store, RecordSink, Series
file    F1  FileStore: a ledger by its path, and the files of one series
reading F1  records for readers that lock nothing
"""
