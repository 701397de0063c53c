"""The load generator behind `penstock bench load`.

`workload` and `pacing` decide what is sent and when, `generator` sends it and notes what comes back, `figures` counts,
`watch` tells whether the generator itself was in the way; `report`, `table` and `plot` show it.
"""
