"""The job: what comes before the engine and after it.

spec      what the user asked for, which ledger that means (of which kind), whether the two fit
copies    a ledger as the manifest of its snapshots' copies
accounts  whose credentials a run uses, and the region their owner works in by default
intake    the manifest against the ledger: every problem, what is done, each region's rows to do
run       one run from manifest to exit code: prepare (nothing sent), then execute
series    which ledger counts where each day or run has its own; an unfinished night makes room
reopen    a ledger taken up without its manifest: settle, wait, rollback
preview   what a run would do, without making anything; the disks looked up; what a careful person
          should hear before it begins
discover  from tags and instances to disks
restore   the restore map: disks, snapshots and copies to rebuild by, asked of the cloud
"""
