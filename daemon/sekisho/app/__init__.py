"""What puts the pieces together into processes: the control plane, the data plane, the two supervised, the demo."""
