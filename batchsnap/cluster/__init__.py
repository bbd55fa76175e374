"""Many machines on one run: each owns some quotas, and runs the unchanged engine over them.

Nothing is scheduled and nobody leads. A worker tries the locks of free quotas; what it got it owns
until the work there is done, it is stopped, or it dies, and then another gets the lock.

keys     which quotas this machine can work on
share    what the database has of a quota, sorted into what is to be done
claims   lock, read, and write `claimed` as the next record
canary   the first N rows of a run, before all others
tenure   one quota, from `claimed` to `released`
worker   one machine's offer: claims while there is something free
load     a manifest into the database, in one transaction; a run's ends
edit     an edited manifest for a run that nobody works on
run      a run taken up or loaded, stopped, and how it ends
serve    a machine that works on all open ledgers, as they come
machine  how much this one may own, and what it owns: for its own view and metrics
"""
