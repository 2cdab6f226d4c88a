// SPDX-License-Identifier: Apache-2.0
#include "agent/start.h"

#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#define LOCK_MS	     2000
#define LOCK_STEP_MS 20

/* Makes @dir (and what is above it, 0755). */
static int folder_make(const char *dir, mode_t mode)
{
	char part[1024];
	char *p;

	if (snprintf(part, sizeof(part), "%s", dir) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	for (p = strchr(part + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(part, mode) && errno != EEXIST ? -errno : 0;
}

/* ---- lock ---------------------------------------------------------------------------------- */

static int lock_held(int fd, const char *path, struct skep_err *err)
{
	char text[64] = "", when[32] = "?";
	long long pid = 0, since = 0;
	struct tm tm;
	time_t t;

	if (pread(fd, text, sizeof(text) - 1, 0) > 0)
		sscanf(text, "%lld %lld", &pid, &since);
	t = (time_t)since;
	if (since && localtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	return skep_fail(err, -EBUSY, "another skep (pid %lld, since %s) holds %s", pid, when,
			 path);
}

/* An agent that was killed just now holds it until the kernel has cleaned up behind it. */
static int lock_take(int fd)
{
	int tries = LOCK_MS / LOCK_STEP_MS;

	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK || !tries--)
			return -errno;
		usleep(LOCK_STEP_MS * 1000);
	}
	return 0;
}

int start_lock(const char *dir, int *fd, struct skep_err *err)
{
	cleanup(fd_close) int lock = -1;
	char path[1100], text[64];
	int n, rc = folder_make(dir, 0700);

	snprintf(path, sizeof(path), "%s/lock", dir);
	if (rc)
		return skep_fail(err, rc, "cannot make %s: %s", dir, strerror(-rc));
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0)
		return skep_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	rc = lock_take(lock);
	if (rc)
		return rc == -EWOULDBLOCK
			       ? lock_held(lock, path, err)
			       : skep_fail(err, rc, "cannot lock %s: %s", path, strerror(-rc));
	n = snprintf(text, sizeof(text), "%d %lld\n", getpid(), (long long)time(NULL));
	if (ftruncate(lock, 0) || pwrite(lock, text, (size_t)n, 0) != n)
		rc = skep_fail(err, errno ? -errno : -ENOSPC, "cannot write %s: %s", path,
			       strerror(errno ? errno : ENOSPC));
	*fd = take_fd(&lock);
	return rc;
}

/* ---- sockets ------------------------------------------------------------------------------- */

/* Whether somebody answers at @addr. */
static bool socket_lives(const struct sockaddr_un *addr)
{
	cleanup(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* EAGAIN: its queue is full, so somebody has it */
	return !connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) || errno == EAGAIN;
}

static int socket_clear(const struct sockaddr_un *addr, struct skep_err *err)
{
	struct stat st;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT
			       ? 0
			       : skep_fail(err, -errno, "%s: %s", addr->sun_path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return skep_fail(err, -EEXIST, "%s exists and is no socket", addr->sun_path);
	if (socket_lives(addr))
		return skep_fail(err, -EBUSY, "another skep listens on %s", addr->sun_path);
	return unlink(addr->sun_path) ? skep_fail(err, -errno, "cannot replace %s: %s",
						  addr->sun_path, strerror(errno))
				      : 0;
}

static int socket_bind(int fd, const struct sockaddr_un *addr, struct skep_err *err)
{
	const struct group *group = getgrnam("skep");
	mode_t old = umask(0117);
	int rc = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;

	umask(old);
	if (rc)
		return skep_fail(err, rc, "cannot bind %s: %s", addr->sun_path, strerror(-rc));
	if (group && chown(addr->sun_path, (uid_t)-1, group->gr_gid))
		return skep_fail(err, -errno, "cannot give %s to group skep: %s", addr->sun_path,
				 strerror(errno));
	return 0;
}

int start_socket(const char *path, int *fd, struct skep_err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	cleanup(fd_close) int s = -1;
	char dir[sizeof(addr.sun_path)];
	char *slash;
	int rc = 0;

	if (strlen(path) >= sizeof(addr.sun_path))
		return skep_fail(err, -ENAMETOOLONG, "%s is too long for a socket", path);
	strcpy(addr.sun_path, path);
	strcpy(dir, path);
	slash = strrchr(dir, '/');
	if (slash && slash != dir) {
		*slash = '\0';
		rc = folder_make(dir, 0755);
	}
	if (rc)
		return skep_fail(err, rc, "cannot make %s: %s", dir, strerror(-rc));
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return skep_fail(err, -errno, "socket: %s", strerror(errno));
	rc = socket_clear(&addr, err);
	if (!rc)
		rc = socket_bind(s, &addr, err);
	if (!rc)
		*fd = take_fd(&s);
	return rc;
}

int start_tcp(struct agent_addr *addr, int *fd, struct skep_err *err)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons(addr->port),
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in in4 = {.sin_family = AF_INET,
				  .sin_port = htons(addr->port),
				  .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr *sa = addr->v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4;
	socklen_t len = addr->v6 ? sizeof(in6) : sizeof(in4);
	cleanup(fd_close) int s = -1;

	s = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return skep_fail(err, -errno, "socket: %s", strerror(errno));
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(s, sa, len))
		return skep_fail(err, -errno, "cannot listen on %s:%u: %s",
				 addr->v6 ? "[::1]" : "127.0.0.1", addr->port, strerror(errno));
	getsockname(s, sa, &len);
	addr->port = ntohs(addr->v6 ? in6.sin6_port : in4.sin_port);
	*fd = take_fd(&s);
	return 0;
}
