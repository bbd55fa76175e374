"""A run seen from outside, where each quota has an owner: from the records, for whoever looks on.

quotas  F0  a line a quota: who works on it, since when, how fast, what is left
parts   F0  records -> who owns which quota and how far it is; takeovers
view        a ledger's run read on and on, wherever it lies
"""
