"""From the queue to a replica: order, credit, the choice of a replica, and the Session with each."""
