"""A whole fleet in one thread, on virtual time, from a seed: the real planner, with everything around it made up.

`python -m gapless.sim --seeds 1000` runs a thousand fleets and checks the oracles (`sim.oracles`) after every step;
a seed that fails is printed with how to run it again, and gives the same story each time.
"""
