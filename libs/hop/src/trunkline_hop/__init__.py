"""What every hop between Trunkline's services does the same way. See the package's README."""
