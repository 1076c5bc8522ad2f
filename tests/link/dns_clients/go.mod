module isthmus/tests/link/dns_clients

go 1.26.0
