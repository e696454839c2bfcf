"""A world of replicas with prefix caches in front of which routers and gates are compared, in virtual seconds.

`world`: the replicas and their events; `traces`: arrivals and agent runs, recorded or made up; `agents`: runs that wait
for their answers; `baselines`: routers as others build them. Imports nothing of the gate: policies come in as objects.
"""
