"""The peers that `make bench` measures beside the gateway: small receivers of webhooks, and the script that one of them runs."""
