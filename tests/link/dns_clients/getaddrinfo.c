/* getaddrinfo NAME FAMILY: every IPv4 address that the C library finds, a line each; exit code 1 without one.
   FAMILY is 4, or 0 for both kinds, which a C library asks for at the same time. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int count, char **words)
{
	struct addrinfo wanted = {0}, *found = NULL;
	if (count != 3)
		return 2;
	wanted.ai_family = atoi(words[2]) == 4 ? AF_INET : AF_UNSPEC;
	wanted.ai_socktype = SOCK_STREAM;
	int problem = getaddrinfo(words[1], "80", &wanted, &found);
	if (problem) {
		fprintf(stderr, "%s\n", gai_strerror(problem));
		return 1;
	}
	for (struct addrinfo *one = found; one; one = one->ai_next) {
		char text[INET6_ADDRSTRLEN];
		if (one->ai_family != AF_INET)
			continue;
		inet_ntop(AF_INET, &((struct sockaddr_in *)one->ai_addr)->sin_addr, text, sizeof text);
		puts(text);
	}
	freeaddrinfo(found);
	return 0;
}
