// SPDX-License-Identifier: Apache-2.0
/* The whole agent, in a process of its own, asked over its sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "agent/agent.h"
#include "fake.h"

static char dir[] = "/tmp/skep-test-XXXXXX";
static char socket_path[128], state_dir[128], config_path[128];

static pid_t alive[4]; /* agents of the test that runs; a test that fails leaves them */

struct running {
	pid_t pid;
	int answer; /* pipe: what agent_run() had to say at the end */
};

static void path_set(char *dst, const char *name)
{
	snprintf(dst, 128, "%s/%s", dir, name);
}

static int leftovers_kill(void **state);

static void file_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int64_t millisec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static struct running begin(const struct agent_options *o)
{
	struct skep_err err = {0};
	struct running r;
	int fds[2], rc;
	unsigned i;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	r.pid = fork();
	if (!r.pid) {
		close(fds[0]);
		dup2(open("/dev/null", O_WRONLY), 2);
		rc = agent_run(o, &err);
		if (write(fds[1], err.text, strlen(err.text)) < 0)
			_exit(99);
		_exit(-rc);
	}
	close(fds[1]);
	r.answer = fds[0];
	for (i = 0; i < array_size(alive) && alive[i]; i++)
		;
	alive[i % array_size(alive)] = r.pid;
	return r;
}

/* Waits for the end. Return: the -errno that agent_run() gave, as a positive number. */
static int end(struct running *r, char *text, size_t cap)
{
	ssize_t n = read(r->answer, text, cap - 1);
	unsigned i;
	int status;

	text[n > 0 ? n : 0] = '\0';
	close(r->answer);
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	for (i = 0; i < array_size(alive); i++)
		alive[i] = alive[i] == r->pid ? 0 : alive[i];
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void stop(struct running *r)
{
	char text[600];

	kill(r->pid, SIGTERM);
	assert_int_equal(end(r, text, sizeof(text)), 0);
}

static int dial(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	close(fd);
	return -1;
}

static int dial_tcp(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons(port),
				   .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static char *all(int fd)
{
	static char text[1 << 20];
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fd);
	return text;
}

static char *ask_fd(int fd, const char *request)
{
	assert_true(fd >= 0);
	assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	return all(fd);
}

static char *ask(const char *path)
{
	char request[512];

	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nConnection: close\r\n\r\n", path);
	return ask_fd(dial(socket_path), request);
}

static char *query(const char *sql)
{
	char body[512], request[1024];

	snprintf(body, sizeof(body), "{\"sql\":\"%s\"}", sql);
	snprintf(request, sizeof(request),
		 "POST /v1/query HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
		 strlen(body), body);
	return ask_fd(dial(socket_path), request);
}

static struct running begin_ready(const struct agent_options *o)
{
	struct running r = begin(o);
	int fd, i;

	for (i = 0; i < 500; i++) {
		fd = dial(o->socket);
		if (fd >= 0) {
			close(fd);
			return r;
		}
		nap();
	}
	fail_msg("the agent does not listen");
	return r;
}

static struct agent_options options(void)
{
	return (struct agent_options){.state_dir = state_dir,
				      .socket = socket_path,
				      .listen = "127.0.0.1:0",
				      .log_json = -1};
}

/* The port and the token out of /v1/url. */
static uint16_t url(char *token)
{
	const char *text = strstr(ask("/v1/url"), "127.0.0.1:");
	unsigned port;

	assert_non_null(text);
	assert_int_equal(sscanf(text, "127.0.0.1:%u/?token=%43[A-Za-z0-9_-]", &port, token), 2);
	return (uint16_t)port;
}

static bool status_is(const char *answer, int status)
{
	return atoi(answer + strlen("HTTP/1.1 ")) == status;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void it_answers_on_its_socket_and_ends_cleanly_within_a_second(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r = begin_ready(&o);
	struct stat st;
	int64_t asked;

	assert_true(status_is(ask("/v1/status"), 200));
	assert_non_null(
		strstr(ask("/v1/status"), "\"reports\":[\n{\"ready\":true,\"what\":\"processes\""));
	assert_non_null(
		strstr(ask("/v1/guard"), "\"skep_guard_events_total{kind=\\\"exec\\\"}\":0"));
	assert_true(status_is(ask("/v1/trace"), 404));
	assert_non_null(strstr(ask("/healthz"), "\r\n\r\nok\n"));
	assert_int_equal(stat(socket_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	asked = millisec();
	stop(&r);
	assert_true(millisec() - asked < 1000);
	assert_int_equal(access(socket_path, F_OK), -1);
}

static void a_second_agent_says_who_holds_the_lock(maybe_unused void **state)
{
	struct agent_options o = options(), other = o;
	struct running r = begin_ready(&o), second;
	char text[600], want[64];

	other.socket = "/tmp/skep-test-other.sock";
	second = begin(&other);
	assert_int_equal(end(&second, text, sizeof(text)), EBUSY);
	snprintf(want, sizeof(want), "another skep (pid %d, since 20", r.pid);
	assert_ptr_equal(strstr(text, want), text);
	assert_non_null(strstr(text, state_dir));
	stop(&r);
}

static void a_socket_that_lives_is_not_taken_and_a_stale_one_is(maybe_unused void **state)
{
	struct agent_options o = options(), other = o;
	struct running r = begin_ready(&o), second;
	char text[600];

	other.state_dir = "/tmp/skep-test-other";
	second = begin(&other);
	assert_int_equal(end(&second, text, sizeof(text)), EBUSY);
	assert_non_null(strstr(text, "another skep listens on"));
	assert_int_equal(system("rm -rf /tmp/skep-test-other"), 0);
	leftovers_kill(NULL);
	close(r.answer);
	assert_int_equal(access(socket_path, F_OK), 0);
	r = begin_ready(&o);
	assert_true(status_is(ask("/healthz"), 200));
	stop(&r);
}

static void over_tcp_only_the_token_opens(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r = begin_ready(&o);
	char token[64], again[64], request[512];
	uint16_t port = url(token);
	char *answer;

	snprintf(request, sizeof(request),
		 "GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n\r\n",
		 port);
	assert_true(status_is(ask_fd(dial_tcp(port), request), 401));
	snprintf(request, sizeof(request),
		 "GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAuthorization: Bearer %s\r\n"
		 "Connection: close\r\n\r\n",
		 port, token);
	assert_true(status_is(ask_fd(dial_tcp(port), request), 200));
	snprintf(request, sizeof(request),
		 "GET /v1/status HTTP/1.1\r\nHost: evil.example:%u\r\nAuthorization: Bearer %s\r\n"
		 "Connection: close\r\n\r\n",
		 port, token);
	assert_true(status_is(ask_fd(dial_tcp(port), request), 403));
	snprintf(request, sizeof(request),
		 "GET /v1/url HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAuthorization: Bearer %s\r\n"
		 "Connection: close\r\n\r\n",
		 port, token);
	assert_true(status_is(ask_fd(dial_tcp(port), request), 403));
	snprintf(request, sizeof(request),
		 "GET /?token=%s HTTP/1.1\r\nHost: localhost:%u\r\nConnection: close\r\n\r\n",
		 token, port);
	answer = ask_fd(dial_tcp(port), request);
	assert_true(status_is(answer, 302));
	assert_non_null(strstr(answer, "; HttpOnly; SameSite=Strict; Path=/\r\n"));
	stop(&r);
	r = begin_ready(&o);
	url(again);
	assert_string_equal(token, again);
	stop(&r);
}

static void queries_answer_with_rows_or_with_sqlites_own_words(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r = begin_ready(&o);

	assert_non_null(strstr(query("select 1 as a, 'x' as b, null as c, 0.5 as d"),
			       "{\"columns\":[\"a\",\"b\",\"c\",\"d\"],\"rows\":[\n"
			       "[1,\"x\",null,0.5]],\"truncated\":false,\"millisec\":"));
	assert_true(status_is(query("select nonesuch from process"), 400));
	assert_non_null(strstr(query("select nonesuch from process"), "no such column: nonesuch"));
	assert_true(status_is(query("delete from process"), 400));
	assert_true(status_is(ask("/v1/query"), 405));
	assert_non_null(
		strstr(ask("/v1/guard/processes"), "{\"processes\":[],\"truncated\":false}"));
	assert_non_null(strstr(ask("/v1/trace/map"), "{\"edges\":[],\"nodes\":[]}"));
	assert_non_null(strstr(ask("/v1/events"), "{\"events\":[]}"));
	assert_true(status_is(ask("/v1/events?kind=nonsense"), 400));
	assert_true(status_is(ask("/v1/events?kid=1"), 400));
	assert_true(status_is(query("select * from event"), 200));
	assert_non_null(strstr(ask("/v1/schema"), "\"views\":[{\"name\":\"event\",\"columns\":["
						  "{\"name\":\"at\","));
	stop(&r);
}

static void a_query_that_takes_too_long_is_ended(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r;
	int64_t asked;

	file_write(config_path, "apiVersion: skep/v1\nkind: Agent\nspec:\n"
				"  limits: {querySeconds: 1, queries: 1}\n");
	o.config = config_path;
	r = begin_ready(&o);
	asked = millisec();
	assert_true(
		status_is(query("with recursive n(i) as (select 1 union all select i + 1 from n) "
				"select count(*) from n"),
			  503));
	assert_in_range(millisec() - asked, 900, 3500);
	assert_true(status_is(ask("/healthz"), 200));
	stop(&r);
}

static void sighup_reads_the_configuration_again(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r;
	int i;

	file_write(config_path, "apiVersion: skep/v1\nkind: Agent\nspec: {guard: {size: 5}}\n");
	o.config = config_path;
	r = begin_ready(&o);
	assert_non_null(strstr(ask("/metrics"), "\nskep_guard_size 5\n"));
	file_write(config_path, "apiVersion: skep/v1\nkind: Agent\nspec: {guard: {size: 6}}\n");
	kill(r.pid, SIGHUP);
	for (i = 0; i < 100 && !strstr(ask("/metrics"), "\nskep_guard_size 6\n"); i++)
		nap();
	assert_true(i < 100);
	file_write(config_path, "spec: nonsense");
	kill(r.pid, SIGHUP);
	nap();
	file_write(config_path, "apiVersion: skep/v1\nkind: Agent\nspec: {guard: {fail: true}}\n");
	kill(r.pid, SIGHUP);
	nap();
	assert_non_null(strstr(ask("/metrics"), "\nskep_guard_size 6\n"));
	stop(&r);
}

static void metrics_stand_together_by_name(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r = begin_ready(&o);
	const char *text = ask("/metrics");

	assert_non_null(strstr(text, "\n# HELP skep_guard_events_total Events.\n"
				     "# TYPE skep_guard_events_total counter\n"
				     "skep_guard_events_total{kind=\"exec\"} 0\n"
				     "skep_guard_events_total{kind=\"exit\"} 1\n#"));
	assert_non_null(strstr(text, "\nskep_agent_lost_total 3\n"));
	assert_non_null(strstr(text, "\nskep_store_rows{table=\"process\"} 0\n"));
	stop(&r);
}

static void where_no_capability_loads_there_is_no_agent(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r;
	char text[600];

	file_write(config_path, "apiVersion: skep/v1\nkind: Agent\nspec: {guard: {fail: true}}\n");
	o.config = config_path;
	r = begin(&o);
	assert_int_equal(end(&r, text, sizeof(text)), EPERM);
	assert_string_equal(text, "guard: the fake was told to fail");
}

static void a_bad_configuration_is_one_sentence_with_its_place(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r;
	char text[600], want[256];

	file_write(config_path, "apiVersion: skep/v1\nkind: Agent\nspec:\n  lisen: off\n");
	o.config = config_path;
	r = begin(&o);
	assert_int_equal(end(&r, text, sizeof(text)), EINVAL);
	snprintf(want, sizeof(want), "%s:4:3: spec: unknown key 'lisen', did you mean 'listen'?",
		 config_path);
	assert_string_equal(text, want);
	o.config = "/nowhere.yaml";
	r = begin(&o);
	assert_int_equal(end(&r, text, sizeof(text)), ENOENT);
	assert_string_equal(text, "/nowhere.yaml: No such file or directory");
}

static void without_a_state_folder_it_runs_on(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r;

	file_write(config_path, "");
	o.state_dir = config_path; /* a file, not a folder */
	r = begin_ready(&o);
	assert_non_null(strstr(ask("/v1/status"), "\"state_dir\":\"\""));
	stop(&r);
}

static void a_full_disk_does_not_stop_it(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r;
	char cmd[256];

	snprintf(cmd, sizeof(cmd),
		 "mkdir -p %s/full && mount -t tmpfs -o size=4k,mode=700 full "
		 "%s/full 2>/dev/null && cat /dev/zero >%s/full/fill 2>/dev/null",
		 dir, dir, dir);
	if (system(cmd) == -1 || access("/tmp", W_OK))
		skip();
	snprintf(cmd, sizeof(cmd), "%s/full", dir);
	o.state_dir = cmd;
	r = begin_ready(&o);
	assert_true(status_is(ask("/healthz"), 200));
	stop(&r);
}

static void clients_that_only_connect_leave_room_for_one_that_asks(maybe_unused void **state)
{
	struct agent_options o = options();
	struct running r = begin_ready(&o);
	static int fds[1100];
	unsigned i;

	for (i = 0; i < array_size(fds); i++) {
		while ((fds[i] = dial(socket_path)) < 0)
			nap();
	}
	assert_true(status_is(ask("/healthz"), 200));
	for (i = 0; i < array_size(fds); i++)
		close(fds[i]);
	stop(&r);
}

static int leftovers_kill(maybe_unused void **state)
{
	unsigned i;

	for (i = 0; i < array_size(alive); i++) {
		if (alive[i] && !kill(alive[i], SIGKILL))
			waitpid(alive[i], NULL, 0);
		alive[i] = 0;
	}
	return 0;
}

static int group_begin(maybe_unused void **state)
{
	if (!mkdtemp(dir))
		return -1;
	path_set(socket_path, "skep.sock");
	path_set(state_dir, "state");
	path_set(config_path, "skep.yaml");
	return 0;
}

static int group_end(maybe_unused void **state)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "umount %s/full 2>/dev/null; rm -rf %s", dir, dir);
	return system(cmd);
}

#define TEST(f) cmocka_unit_test_teardown(f, leftovers_kill)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_answers_on_its_socket_and_ends_cleanly_within_a_second),
		TEST(a_second_agent_says_who_holds_the_lock),
		TEST(a_socket_that_lives_is_not_taken_and_a_stale_one_is),
		TEST(over_tcp_only_the_token_opens),
		TEST(queries_answer_with_rows_or_with_sqlites_own_words),
		TEST(a_query_that_takes_too_long_is_ended),
		TEST(sighup_reads_the_configuration_again),
		TEST(metrics_stand_together_by_name),
		TEST(where_no_capability_loads_there_is_no_agent),
		TEST(a_bad_configuration_is_one_sentence_with_its_place),
		TEST(without_a_state_folder_it_runs_on),
		TEST(a_full_disk_does_not_stop_it),
		TEST(clients_that_only_connect_leave_room_for_one_that_asks),
	};

	return cmocka_run_group_tests(tests, group_begin, group_end);
}
