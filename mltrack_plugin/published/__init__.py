"""What reproduces published results"""
