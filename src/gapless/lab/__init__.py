"""A laboratory on one machine: hosts, switches, VMs and an outside world as namespaces, running the real processes.

Reading order: `machines.enter` (how it needs no root and leaves nothing behind), the rest of `machines` (what it is
made of), `lab` (the whole), `measuring.probes` and `measuring.prober` (how a gap is measured), `faults` (what is
broken on purpose), `experiment` (strike, wait, check). What is told to people (`findings`) listens to
`findings.events`.

The lab speaks to the kernel through `ip`, `nft` and `nsenter`, never through Gapless's own kernel code: what judges
must not share faults with what is judged.
"""
