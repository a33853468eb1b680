"""One replica, two behind a balancer, and the plan for any load: docs/scaling.md.

capacity      one replica at saturation
comparison    the queueing model beside two real replicas
failure       one of two replicas is killed
queueing      the model itself, and the plan that follows from it
"""
