"""The admin listener: health, metrics, reload, and the API for operators.

listener        health, readiness, metrics (scrape), reload
api             `/api/...`
  inputs          what a request asks for
  json_documents  the JSON of the answer (request_json: about service requests)
"""
