"""The Kalman filter"""
