"""Memory controller and devices of DRAMSys 4."""
