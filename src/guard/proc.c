// SPDX-License-Identifier: Apache-2.0
#include "guard/proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#define PF_KTHREAD 0x00200000U

/* A file of a process as a string; "" where it cannot be read. */
static const char *read_file(uint32_t pid, const char *name, char *out, size_t cap)
{
	cleanup(fd_close) int fd = -1;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, out, cap - 1);
	out[max(n, (ssize_t)0)] = '\0';
	return out;
}

/* "pid (comm) state ppid ..."; comm may hold anything, so it ends at the last parenthesis. */
static int read_stat(struct guard_task *t, uint32_t pid)
{
	char text[1024];
	const char *open = strchr(read_file(pid, "stat", text, sizeof(text)), '(');
	const char *close = strrchr(text, ')');
	uint64_t ticks;
	unsigned flags;
	char state;

	if (!open || !close ||
	    sscanf(close + 1,
		   " %c %u %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
		   "%" SCNu64,
		   &state, &t->ppid, &flags, &ticks) != 4 ||
	    state == 'Z' || state == 'X')
		return -ESRCH;
	t->pid = pid;
	t->start = ticks * PROC_TICK_NS;
	t->flags = flags & PF_KTHREAD ? GUARD_KERNEL : 0;
	memcpy(t->comm, open + 1, min((size_t)(close - open - 1), sizeof(t->comm) - 1));
	return 0;
}

/* The text behind "\nKey:". */
static const char *behind(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? at + strlen(key) : "";
}

static void read_status(struct guard_task *t, uint32_t pid)
{
	char text[8192];

	read_file(pid, "status", text, sizeof(text));
	sscanf(behind(text, "\nUid:"), "%u %u", &t->uid, &t->euid);
	sscanf(behind(text, "\nGid:"), "%u", &t->gid);
	sscanf(behind(text, "\nCapEff:"), "%llx", &t->caps);
	t->loginuid = ~0U;
	sscanf(read_file(pid, "loginuid", text, sizeof(text)), "%u", &t->loginuid);
}

static void read_namespaces(struct guard_task *t, uint32_t pid)
{
	static const char *const names[GUARD_NS_COUNT] = {
		[GUARD_NS_MNT] = "mnt",	      [GUARD_NS_NET] = "net", [GUARD_NS_PID] = "pid",
		[GUARD_NS_USER] = "user",     [GUARD_NS_UTS] = "uts", [GUARD_NS_IPC] = "ipc",
		[GUARD_NS_CGROUP] = "cgroup",
	};
	char path[64];
	struct stat st;
	unsigned i;

	for (i = 0; i < GUARD_NS_COUNT; i++) {
		snprintf(path, sizeof(path), "/proc/%u/ns/%s", pid, names[i]);
		if (!stat(path, &st))
			t->ns[i] = (uint32_t)st.st_ino;
	}
}

/* The kernfs id of a cgroup is the inode of its folder. */
static void read_cgroup(struct guard_task *t, uint32_t pid, const char *cgroup2)
{
	char text[8192] = "\n", path[8192];
	const char *at;
	struct stat st;

	read_file(pid, "cgroup", text + 1, sizeof(text) - 1);
	at = behind(text, "\n0::");
	snprintf(path, sizeof(path), "%s%.*s", cgroup2, (int)strcspn(at, "\n"), at);
	if (*at && *cgroup2 && !stat(path, &st))
		t->cgroup = st.st_ino;
}

int proc_task(struct guard_task *out, uint32_t pid, const char *cgroup2)
{
	struct guard_task t = {0};
	int rc = read_stat(&t, pid);

	if (rc)
		return rc;
	read_status(&t, pid);
	read_namespaces(&t, pid);
	read_cgroup(&t, pid, cgroup2);
	*out = t;
	return 0;
}

bool proc_lives(uint32_t pid, uint64_t start)
{
	struct guard_task t = {0};

	return !read_stat(&t, pid) && t.start <= start && start < t.start + PROC_TICK_NS;
}
