"""What reproduces published results, beside figures as they were published; it uses the library, which never uses it.

- `trackformers`: Caron et al., tables of Transformer designs. `heptrkx`: the networks of HEP.TrkX and their data.
"""
