"""What must be true whatever happens, judged from outside: by what is really in the kernels and in the store.

There are thirteen; each is written out where it is judged:

- `never_two`: 1, never two active at once; and of 8, that no two may succeed at once.
- `bookkeeping`: 2, 3 and the rest of 8, what is stored and what hosts are sent.
- `silence`: 5 and 6, who is held dead, and what moves for that.
- `moves`: 9 to 13, why else routers leave hosts, and how often; 11 and 12 are counted in `retries`.
- `progress`: 4 and 7, what has to come about.

`oracles` is told what happens, and tells each of them; all look at one `scene`.
"""
