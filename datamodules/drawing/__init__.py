"""How a face is drawn: who it is, how it is photographed, and the layers of the picture."""
