"""The command line `./isthmus`, beside the Pulumi program: the lab, the checks, the tests.

It owns what is printed and the exit codes: 0 done, 1 a check or a test failed, 2 wrong usage, 3 something could not be
done, 130 interrupted.
"""
