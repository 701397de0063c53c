"""The trained verifier: does a stored prompt's answer serve this prompt?"""
