"""A laboratory on one machine: hosts, switches, VMs and an outside world as namespaces, running the real processes.

Reading order: `enter` (how it needs no root and leaves nothing behind), `machine` and `wiring` (what it is made of),
`lab` (the whole), `probes` and `prober` (how a gap is measured), `faults` (what is broken on purpose), `experiment`
(strike, wait, check). Presentation (`table`, `gapless demo`) listens to `events` and knows nothing else.

The lab speaks to the kernel through `ip`, `nft` and `nsenter`, never through Gapless's own kernel code: what judges
must not share faults with what is judged.
"""
