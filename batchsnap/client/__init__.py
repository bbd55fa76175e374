"""The client: how a credential reaches a host. It knows no row's life.

ports        what is asked of the world: sending, gates, credentials, a place for records
account      one credential at one host: signs, paces, sends, and mends what can be mended
questions    questions to the cloud, paged; an answer is whole or a part, absence needs a whole
connections  transport, gates and accounts of one process: opened once, closed together
stopping     signals and other reasons to stop
"""
