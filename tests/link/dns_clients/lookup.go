// lookup NAME FAMILY: every IPv4 address that Go's own resolver finds, a line each; exit code 1 without one.
// FAMILY is 4, or 0 for both kinds.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		os.Exit(2)
	}
	network := "ip"
	if os.Args[2] == "4" {
		network = "ip4"
	}
	resolver := net.Resolver{PreferGo: true}
	found, err := resolver.LookupIP(context.Background(), network, os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, address := range found {
		if address.To4() != nil {
			fmt.Println(address)
		}
	}
}
