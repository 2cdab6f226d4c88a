// SPDX-License-Identifier: Apache-2.0
#include "guard/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "base/text.h"
#include "guard/proc.h"
#include "host/host.h"
#include "who/who.h"

#define SETTLED_NS 1000000000ULL /* a younger process may have its fork in the ring still */

struct process_table {
	struct cap_env env;
	struct store_table *rows;
	uint64_t reported[GUARD_KINDS];
	uint64_t scanned; /* boot ns of the scan that runs or ran last */
	uint32_t generation;
	char raw[GUARD_PATHS_MAX + 16];
	char exe[GUARD_PATHS_MAX * 4], cwd[GUARD_PATHS_MAX * 4], argv[STORE_STR_MAX];
	char comm[WHO_COMM_MAX];
};

static const struct store_column columns[] = {
#define COLUMN(id, col, kind, text) {#col, STORE_##kind, text},
#include "guard/process.def"
#undef COLUMN
};

static const struct store_def def = {
	.name = "process",
	.doc = "programs that ran: a row from exec (or fork) to exit",
	.columns = columns,
	.n_columns = PROCESS_COLUMNS,
};

int process_open(struct process_table **out, const struct cap_env *env, size_t bytes,
		 struct skep_err *err)
{
	struct process_table *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return skep_fail(err, -ENOMEM, "no memory for the process table");
	t->env = *env;
	rc = store_table_add(env->store, &def, bytes, &t->rows, err);
	if (rc) {
		free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void process_free(struct process_table *t)
{
	free(t);
}

const uint64_t *process_reported(const struct process_table *t)
{
	return t->reported;
}

static struct who_id id_of(uint32_t pid, uint64_t start)
{
	return (struct who_id){.pid = pid, .start = start};
}

/* ---- cells --------------------------------------------------------------------------------- */

static void fill_cgroup(struct store_cell *c, const struct who_process *p)
{
	const struct who_cgroup *cg = p->cgroup;

	c[PROCESS_CGROUP] = STORE_STRZ(cg->path);
	c[PROCESS_SERVICE] = STORE_STRZ(who_service(p));
	c[PROCESS_RUNTIME] = STORE_STRZ(cg->runtime);
	c[PROCESS_CONTAINER] = STORE_STRZ(cg->container);
	c[PROCESS_CONTAINER_NAME] = STORE_STRZ(cg->name);
	c[PROCESS_IMAGE] = STORE_STRZ(cg->image);
	c[PROCESS_POD] = STORE_STRZ(cg->pod);
	c[PROCESS_LABELS] = STORE_STRZ(cg->labels);
	c[PROCESS_UNIT] = STORE_STRZ(cg->unit);
}

static void fill_task(struct store_cell *c, const struct guard_task *task)
{
	static const unsigned ns[GUARD_NS_COUNT] = {
		[GUARD_NS_MNT] = PROCESS_NS_MNT,       [GUARD_NS_NET] = PROCESS_NS_NET,
		[GUARD_NS_PID] = PROCESS_NS_PID,       [GUARD_NS_USER] = PROCESS_NS_USER,
		[GUARD_NS_UTS] = PROCESS_NS_UTS,       [GUARD_NS_IPC] = PROCESS_NS_IPC,
		[GUARD_NS_CGROUP] = PROCESS_NS_CGROUP,
	};
	unsigned i;

	c[PROCESS_PID] = STORE_NUM(task->pid);
	c[PROCESS_STARTED] = STORE_NUM(task->start);
	c[PROCESS_PPID] = STORE_NUM(task->ppid);
	c[PROCESS_PARENT_STARTED] = STORE_NUM(task->parent_start);
	c[PROCESS_UID] = STORE_NUM(task->uid);
	c[PROCESS_GID] = STORE_NUM(task->gid);
	c[PROCESS_EUID] = STORE_NUM(task->euid);
	c[PROCESS_LOGINUID] = task->loginuid == ~0U ? STORE_NONE : STORE_NUM(task->loginuid);
	c[PROCESS_CAPS] = STORE_NUM(task->caps);
	for (i = 0; i < GUARD_NS_COUNT; i++)
		c[ns[i]] = STORE_NUM(task->ns[i]);
}

/* What a fork shares with its parent, copied: the parent's block may go while the row is added. */
static struct store_cell keep(struct store_cell cell, char *to, size_t cap)
{
	if (!cell.set)
		return cell;
	cell.len = min(cell.len, (uint32_t)cap - 1);
	memcpy(to, cell.str, cell.len);
	cell.str = to;
	return cell;
}

static void fill_inherited(struct process_table *t, struct store_cell *c,
			   const struct who_process *parent)
{
	const uint64_t *row = &parent->row;

	c[PROCESS_EXE] = keep(store_get(t->rows, row, PROCESS_EXE), t->exe, sizeof(t->exe));
	c[PROCESS_CWD] = keep(store_get(t->rows, row, PROCESS_CWD), t->cwd, sizeof(t->cwd));
	c[PROCESS_ARGV] = keep(store_get(t->rows, row, PROCESS_ARGV), t->argv, sizeof(t->argv));
	c[PROCESS_ARGV_BYTES] = store_get(t->rows, row, PROCESS_ARGV_BYTES);
	c[PROCESS_ARGV_CUT] = store_get(t->rows, row, PROCESS_ARGV_CUT);
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void emit(struct process_table *t, const char *event, const struct who_process *p)
{
	if (p->row)
		t->env.emit(t->env.emit_arg, event, t->rows, &p->row);
}

static struct who_process *meet(struct process_table *t, const struct guard_task *task)
{
	struct who_process *p = who_process_add(t->env.who, id_of(task->pid, task->start));

	if (!p)
		return NULL;
	p->parent = id_of(task->ppid, task->parent_start);
	p->netns = task->ns[GUARD_NS_NET];
	p->flags = t->generation;
	p->kernel = task->flags & GUARD_KERNEL;
	text_escape(p->comm, sizeof(p->comm), task->comm, strnlen(task->comm, GUARD_COMM));
	return p;
}

/* Resolving may read a file: only where the process is not in the cgroup that is known of @near. */
static void settle(struct process_table *t, struct who_process *p, const struct guard_task *task,
		   const struct who_process *near)
{
	bool same =
		near && near->cgroup->id == task->cgroup && near->cgroup_pids == task->cgroup_pids;

	if (same)
		p->cgroup = near->cgroup;
	else if (task->cgroup) /* /proc may not have told it */
		p->cgroup = who_cgroup_get(t->env.who, task->cgroup, task->pid);
	p->cgroup_pids = task->cgroup_pids;
}

static void row_end(struct process_table *t, struct who_process *p, uint64_t boot_ns)
{
	store_set(t->rows, &p->row, PROCESS_ENDED, STORE_NUM(host_wall(boot_ns)));
}

static void on_fork(struct process_table *t, const struct guard_fork *e)
{
	struct store_cell cells[PROCESS_COLUMNS] = {0};
	struct who_process *p = meet(t, &e->task), *parent;

	if (!p || p->row)
		return; /* the scan has it already */
	parent = who_process_find(t->env.who, p->parent);
	settle(t, p, &e->task, parent);
	fill_task(cells, &e->task);
	fill_cgroup(cells, p);
	if (parent)
		fill_inherited(t, cells, parent);
	cells[PROCESS_TIME] = STORE_NUM(host_wall(e->head.time));
	cells[PROCESS_COMM] = STORE_STRZ(p->comm);
	cells[PROCESS_ORIGIN] = STORE_STRZ("fork");
	store_append(t->rows, cells, &p->row);
	emit(t, "process.fork", p);
}

/* Components leaf first, each with its NUL, become /a/b/c. */
static size_t join_path(char *out, size_t cap, const char *parts, size_t n, const char *tail)
{
	size_t end = n, at = 0, begin;

	while (end > 0) {
		begin = end - 1;
		while (begin > 0 && parts[begin - 1])
			begin--;
		if (at + 1 < cap)
			out[at++] = '/';
		at += text_escape(out + at, cap - at, parts + begin, end - 1 - begin);
		end = begin;
	}
	if (!at)
		out[at++] = '/';
	at += text_escape(out + at, cap - at, tail, strlen(tail));
	return at;
}

static void fill_exec(struct process_table *t, struct store_cell *c, const struct guard_exec *e)
{
	const char *exe = (const char *)(e + 1), *cwd = exe + e->exe_len, *argv = cwd + e->cwd_len;
	size_t n;

	n = join_path(t->exe, sizeof(t->exe), exe, e->exe_len,
		      e->flags & GUARD_EXE_DELETED ? " (deleted)" : "");
	c[PROCESS_EXE] = STORE_TEXT(t->exe, n);
	n = join_path(t->cwd, sizeof(t->cwd), cwd, e->cwd_len, "");
	c[PROCESS_CWD] = STORE_TEXT(t->cwd, n);
	n = text_argv(t->argv, sizeof(t->argv), argv, e->argv_len);
	c[PROCESS_ARGV] = STORE_TEXT(t->argv, n);
	c[PROCESS_ARGV_BYTES] = STORE_NUM(e->argv_total);
	c[PROCESS_ARGV_CUT] = STORE_NUM(e->argv_len < e->argv_total || n + 8 > sizeof(t->argv));
}

/* The row that an exec may take over: the fork's, or a scan's that already saw this program. */
static bool same_run(struct process_table *t, const struct who_process *p, uint64_t time)
{
	struct store_cell origin = store_get(t->rows, &p->row, PROCESS_ORIGIN);

	if (!origin.set)
		return false;
	return origin.str[0] == 'f' || (origin.str[0] == 's' && time <= t->scanned);
}

static void on_exec(struct process_table *t, const struct guard_exec *e)
{
	struct store_cell cells[PROCESS_COLUMNS] = {0};
	struct who_process *p = meet(t, &e->task);
	unsigned i;

	if (!p)
		return;
	settle(t, p, &e->task, p);
	fill_task(cells, &e->task);
	fill_cgroup(cells, p);
	fill_exec(t, cells, e);
	cells[PROCESS_TIME] = STORE_NUM(host_wall(e->head.time));
	cells[PROCESS_COMM] = STORE_STRZ(p->comm);
	cells[PROCESS_ORIGIN] = STORE_STRZ("exec");
	if (p->row && same_run(t, p, e->head.time)) {
		for (i = 0; i < PROCESS_COLUMNS; i++)
			store_set(t->rows, &p->row, i, cells[i]);
	} else {
		if (p->row) {
			row_end(t, p, e->head.time);
			store_close(t->rows, &p->row);
		}
		store_append(t->rows, cells, &p->row);
	}
	emit(t, "process.exec", p);
}

static void on_exit_event(struct process_table *t, const struct guard_exit *e)
{
	struct who_process *p = who_process_find(t->env.who, id_of(e->pid, e->start));
	int status = (int)e->status;

	if (!p || p->ended)
		return;
	row_end(t, p, e->head.time);
	if (WIFSIGNALED(status)) {
		store_set(t->rows, &p->row, PROCESS_SIGNAL, STORE_NUM(WTERMSIG(status)));
		store_set(t->rows, &p->row, PROCESS_CORE, STORE_NUM(!!WCOREDUMP(status)));
	} else {
		store_set(t->rows, &p->row, PROCESS_EXIT_CODE, STORE_NUM(WEXITSTATUS(status)));
	}
	emit(t, "process.exit", p);
	store_close(t->rows, &p->row);
	who_process_end(t->env.who, p, e->head.time);
}

static bool exec_fits(const struct guard_exec *e, size_t size)
{
	return size >= sizeof(*e) && e->exe_len <= GUARD_PATHS_MAX &&
	       e->cwd_len <= GUARD_PATHS_MAX && e->argv_len <= GUARD_ARGV_MAX &&
	       size >= sizeof(*e) + e->exe_len + e->cwd_len + e->argv_len;
}

int process_event(struct process_table *t, const void *data, size_t size)
{
	const struct guard_head *head = data;

	if (size < sizeof(*head) || head->kind >= GUARD_KINDS)
		return -EBADMSG;
	if (head->kind == GUARD_FORK && size >= sizeof(struct guard_fork))
		on_fork(t, data);
	else if (head->kind == GUARD_EXEC && exec_fits(data, size))
		on_exec(t, data);
	else if (head->kind == GUARD_EXIT && size >= sizeof(struct guard_exit))
		on_exit_event(t, data);
	else
		return -EBADMSG;
	t->reported[head->kind]++;
	return 0;
}

/* ---- scan ---------------------------------------------------------------------------------- */

static size_t proc_link(uint32_t pid, const char *what, char *raw, size_t raw_cap, char *out,
			size_t cap)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, what);
	n = readlink(path, raw, raw_cap);
	return n <= 0 ? 0 : text_escape(out, cap, raw, (size_t)n);
}

static ssize_t proc_read(uint32_t pid, const char *what, char *out, size_t cap)
{
	cleanup(fd_close) int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -1 : read(fd, out, cap);
}

static void fill_proc(struct process_table *t, struct store_cell *c, uint32_t pid)
{
	size_t n = proc_link(pid, "exe", t->raw, sizeof(t->raw), t->exe, sizeof(t->exe));
	ssize_t got;

	c[PROCESS_EXE] = n ? STORE_TEXT(t->exe, n) : STORE_NONE;
	n = proc_link(pid, "cwd", t->raw, sizeof(t->raw), t->cwd, sizeof(t->cwd));
	c[PROCESS_CWD] = n ? STORE_TEXT(t->cwd, n) : STORE_NONE;
	got = proc_read(pid, "cmdline", t->raw, GUARD_ARGV_MAX + 1);
	if (got <= 0)
		return;
	n = text_argv(t->argv, sizeof(t->argv), t->raw, min((size_t)got, (size_t)GUARD_ARGV_MAX));
	c[PROCESS_ARGV] = STORE_TEXT(t->argv, n);
	c[PROCESS_ARGV_CUT] = STORE_NUM(got > GUARD_ARGV_MAX);
	if (got <= GUARD_ARGV_MAX)
		c[PROCESS_ARGV_BYTES] = STORE_NUM(got);
}

void process_scan_begin(struct process_table *t)
{
	t->scanned = host_boot_now();
	t->generation++;
}

void process_scan_task(struct process_table *t, const struct guard_task *task)
{
	struct store_cell cells[PROCESS_COLUMNS] = {0};
	struct who_process *p = meet(t, task);

	if (!p || p->row || p->ended)
		return;
	settle(t, p, task, NULL);
	fill_task(cells, task);
	fill_cgroup(cells, p);
	fill_proc(t, cells, task->pid);
	cells[PROCESS_TIME] = STORE_NUM(host_wall(task->start));
	cells[PROCESS_COMM] = STORE_STRZ(p->comm);
	cells[PROCESS_ORIGIN] = STORE_STRZ("scan");
	store_append(t->rows, cells, &p->row);
}

/* The true start of a process, where a child of it was met: /proc rounds it down. */
static void find_start(void *arg, struct who_process *child)
{
	struct guard_task *t = arg;
	uint64_t start = child->parent.start;

	if (child->parent.pid == t->pid && start >= t->start && start < t->start + PROC_TICK_NS)
		t->start = start;
}

static void scan_proc_task(struct process_table *t, uint32_t pid, const char *cgroup2)
{
	struct who_process *p = who_process_alive(t->env.who, pid);
	struct guard_task task;

	if ((p && p->flags == t->generation) || proc_task(&task, pid, cgroup2) ||
	    task.start + SETTLED_NS > t->scanned)
		return;
	who_each(t->env.who, find_start, &task);
	p = task.ppid ? who_process_alive(t->env.who, task.ppid) : NULL;
	task.parent_start = p ? p->id.start : 0;
	process_scan_task(t, &task);
}

void process_scan_proc(struct process_table *t, const char *cgroup2)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	if (!proc)
		return;
	while ((e = readdir(proc)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			scan_proc_task(t, (uint32_t)strtoul(e->d_name, NULL, 10), cgroup2);
	closedir(proc);
}

static void end_missing(void *arg, struct who_process *p)
{
	struct process_table *t = arg;

	if (p->ended || p->flags == t->generation || p->id.start >= t->scanned ||
	    proc_lives(p->id.pid, p->id.start))
		return;
	row_end(t, p, t->scanned);
	emit(t, "process.exit", p);
	store_close(t->rows, &p->row);
	who_process_end(t->env.who, p, t->scanned);
}

void process_scan_end(struct process_table *t)
{
	who_each(t->env.who, end_missing, t);
}
