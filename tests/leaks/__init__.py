"""The search of everything that the gateway wrote, in a whole run of these tests, for every secret that it used.

inside     the recorder, in a folder that children get on their path: which secrets a process built, and what it wrote
search     the forms that a secret can leak in, and where they stand
plugin     pytest: starts the recorder here and in every child, and searches when all is done
"""
