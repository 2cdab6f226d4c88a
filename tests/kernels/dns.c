/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns: a name server on 127.0.0.1:53 for the kernels' tests. To a question of type A it answers
 * 127.0.0.1, to any other that there is none.
 */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Where the one question of a message ends; 0 where it has none. */
static ssize_t question_end(const unsigned char *m, ssize_t n)
{
	ssize_t at = 12;

	while (at < n && m[at])
		at += m[at] + 1;
	return at + 5 <= n ? at + 5 : 0;
}

int main(void)
{
	static const unsigned char answer[] = {0xc0, 12, 0, 1, 0,   1, 0, 0,
					       0,    60, 0, 4, 127, 0, 0, 1};
	struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(53)}, peer;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned char m[512 + sizeof(answer)];
	socklen_t len = sizeof(peer);
	ssize_t n, end;

	self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)))
		return 1;
	while ((n = recvfrom(fd, m, 512, 0, (struct sockaddr *)&peer, &len)) >= 0) {
		end = question_end(m, n);
		if (!end)
			continue;
		memcpy(m + 2, "\x81\x80\0\1\0\0\0\0\0\0", 10);
		if (m[end - 3] == 1) {
			m[7] = 1;
			memcpy(m + end, answer, sizeof(answer));
			end += sizeof(answer);
		}
		sendto(fd, m, (size_t)end, 0, (struct sockaddr *)&peer, len);
		len = sizeof(peer);
	}
	return 1;
}
