"""The Pulumi components of one cluster, one concern a file. What they render comes from ``domain``."""
