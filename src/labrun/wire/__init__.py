"""What crosses the API: one set of types for server and clients.

Requests, responses and errors as frozen structs around core values. No behaviour, no default that
decides something. Server, client and front ends may come in; wire imports core only.
"""
