"""Pacing: the law says when the next start may come, the gate waits for it.

One start, in numbers, at 20 a second and a margin of 0.006 s (`law` has an example of its own). A
row asks for its token at 10.000. The last start was at 9.990, on its grid point, so the next is
lawful a step of 0.0503 s later:

    10.000  `start`: the row stands in the gate's queue, and a timer is set to 10.0403, or up to
            2.4 ms later: processes that share the quota take turns by that
    10.041  the timer rings. Under the file's lock the gate reads what other processes started:
            nothing, so the start is lawful still. It is recorded at 10.041, and is token 7
    10.241  a connection was opened meanwhile. `leave(7)` is asked directly before the bytes are
            written: 0.2 s old, so it may. The start is dated anew, 10.241, in the file too
    10.242  `left(7)`, directly after: dated 10.242
    10.362  `replied(7)`: the margin learns whether it was throttled

The start that comes 20 starts later must lie a second after 10.242, when the call left, and not
after 10.041. Had the connection taken 0.95 s, `leave` would have said no: a token is void after 0.9
of a second, for by then the 20th start after it may be near. The call waits for another token, and
the slot of this one stays empty. Nothing is ever made up.

law         F0  arithmetic: numbers in, the next start out
starts      F1  the last starts of a quota in a flat buffer
quota_file  F1  that buffer shared by all processes of one user, in a small locked file a quota;
                no two formats of it are at work at a time; what is done while a lock can't be had
gate        F1  one async method over the token bucket, the law and the starts
"""
