"""The keeper of a router node: one process that knows its siblings, looks after its own node and steers the link past a
router that fails. It stands alone: Python's standard library and nothing else, so it runs from one zip file in any
Python image (``python keeper.pyz --config FILE``). docs/failover.md says how it works.
"""
