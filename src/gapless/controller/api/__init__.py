"""The Neutron API and what Gapless adds beside it, over HTTP."""
