"""The job: what comes before the engine and after it.

spec      what the user asked for, which ledger that means, and whether the two fit
intake    the manifest against the ledger: every problem, what is done, each region's rows to do
copies    a ledger as the manifest of its snapshots' copies
accounts  whose credentials a run uses, and the region their owner works in by default
run       one run from manifest to exit code: prepare (nothing sent), then execute
series    which ledger a command means, where each day or each run has its own
supersede  an unfinished night makes room for the next one
reopen    a ledger taken up without its manifest: settle, wait, rollback
preview   what a run would do, found without a lock and without making anything
online    the rows to do against DescribeDisks
discover  from tags and instances to disks
restore   what a restore map needs of the cloud
asked     what a program may ask of a run, and of which type
api       the library's doors: `run` to the end, `stream` record by record
"""
