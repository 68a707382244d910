"""A whole fleet in one thread, on virtual time, from a seed: the real planner, with everything around it made up.

`python -m gapless.sim --seeds 1000` runs a thousand fleets and checks the oracles (`sim.oracles`) after every step. Of
a seed that fails it is found out which faults are needed for that (`sim.shrinking`). They are printed, with the story
of a run without the others, and with how to run that again: it gives the same story each time.
"""
