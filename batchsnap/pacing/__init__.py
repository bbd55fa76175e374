"""Pacing: the law says when the next start may come, the gate waits for it.

law         F0  arithmetic: numbers in, the next start out
starts      F1  the last starts of a quota in a flat buffer
quota_file  F1  that buffer shared by all processes of one user, in a small locked file a quota;
                no two formats of it are at work at a time; what is done while a lock can't be had
gate        F1  one async method over the token bucket, the law and the starts
"""
