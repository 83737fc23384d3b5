"""The admin listener: health, metrics, reload, and the API for operators.

listener        health, readiness, metrics (scrape), reload; it passes on what is for the API and for the pages
api             `/api/...`
  inputs          what a request asks for
  json_documents  the JSON of the answer (request_json: about service requests)
"""
