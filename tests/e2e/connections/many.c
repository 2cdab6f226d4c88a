// SPDX-License-Identifier: Apache-2.0
/* many N: N connections over the loopback to itself; says "ready" and keeps them until it is killed. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(8099)};
	int n = argc > 1 ? atoi(argv[1]) : 1, listener = socket(AF_INET, SOCK_STREAM, 0), i;
	struct rlimit many = {2 * (rlim_t)n + 64, 2 * (rlim_t)n + 64};

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (setrlimit(RLIMIT_NOFILE, &many) || bind(listener, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(listener, 128)) {
		perror("many");
		return 1;
	}
	for (i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) ||
		    accept(listener, NULL, NULL) < 0) {
			perror("many");
			return 1;
		}
	}
	puts("ready");
	fflush(stdout);
	pause();
	return 0;
}
