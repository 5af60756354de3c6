"""What the kernel and the NASes should hold for every customer, against what they hold: the steps that mend the difference. Pure."""
