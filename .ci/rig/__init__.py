"""The network rig: see ../rig.py."""
