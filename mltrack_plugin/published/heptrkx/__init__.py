"""HEP.TrkX"""
