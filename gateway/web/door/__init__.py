"""The door of the admin listener: who a request is from, whether it may change something, and what its user may see and do.

guard            looks at each request first, and puts the following together
  authentication   who a request is from
  same_origin      the rules against other pages in the same browser
  permissions      the least role of each route
door_settings    the users, proxies and hosts of the configuration
callers          the other end of a request: its address, and whether it came by a proxy
sign_in          `/login` and `/logout`
  login_view       what its page shows
  sessions         who is signed in
  failed_logins    how often an address may try
discretion       facts as users without the right to bodies may see them
answer_headers   the headers of every answer
"""
