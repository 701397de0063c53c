"""Who takes part: the same two cores, shared out in three ways."""

from penstock_worker.parallel.topology import Topology

CONTESTANTS = {
    "one process": Topology(1, 1),
    "tensor parallel 2": Topology(2, 1),
    "pipeline parallel 2": Topology(1, 2),
}
NUM_CORES = 2
