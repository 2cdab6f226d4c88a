// SPDX-License-Identifier: Apache-2.0
/*
 * The life of an agent:
 *
 *	configuration -> lock -> state -> host -> who, store -> capabilities -> sockets -> sandbox -> loop
 *
 * Everything that needs privileges or may fail for a reason worth a sentence happens before the
 * loop. A state folder that cannot be written is no reason to stay blind: the agent warns, runs
 * without memory (a new token each start, no lock) and the socket alone keeps a second one out.
 *
 * A1. One thread: whatever could take long (SQL) runs in a forked child.
 * A2. The rings are looked at every 4 ms while they deliver, down to every 32 ms when they do not; a
 *     ring that fills faster wakes the loop through the capability's fd().
 */
#include "agent/agent.h"

#include <event2/event.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "agent/api.h"
#include "agent/inside.h"
#include "agent/sandbox.h"
#include "agent/start.h"
#include "base/log.h"
#include "store/store.h"

#define POLL_MS	     4
#define POLL_IDLE_MS 32

/* ---- the loop ------------------------------------------------------------------------------ */

unsigned agent_poll(struct agent *a)
{
	unsigned i, n = 0;

	for (i = 0; i < a->n_caps; i++)
		if (a->caps[i].cap)
			n += a->caps[i].ops->poll(a->caps[i].cap);
	a->stat.polls++;
	a->stat.events += n;
	return n;
}

static void poll_arm(struct agent *a)
{
	event_add(a->poll, &(struct timeval){.tv_usec = a->poll_ms * 1000});
}

static void on_poll(maybe_unused evutil_socket_t fd, maybe_unused short what, void *arg)
{
	struct agent *a = arg;

	a->poll_ms = agent_poll(a) ? POLL_MS : min(a->poll_ms * 2, (unsigned)POLL_IDLE_MS);
	poll_arm(a);
}

static void on_ready(maybe_unused evutil_socket_t fd, maybe_unused short what, void *arg)
{
	const struct agent_cap *c = arg;

	c->agent->stat.events += c->ops->poll(c->cap);
	if (c->ops->fd(c->cap) < 0)
		event_del(c->ready);
	c->agent->poll_ms = POLL_MS;
	poll_arm(c->agent);
}

static void on_tick(maybe_unused evutil_socket_t fd, maybe_unused short what, void *arg)
{
	uint64_t now = host_boot_now();
	struct agent *a = arg;
	unsigned i;

	for (i = 0; i < a->n_caps; i++)
		if (a->caps[i].cap)
			a->caps[i].ops->tick(a->caps[i].cap, now);
	who_expire(a->who, now);
	events_tick(a->events);
	http_tick(a->http);
}

static void on_end(evutil_socket_t sig, maybe_unused short what, void *arg)
{
	struct agent *a = arg;

	log_info("ending: %s", strsignal((int)sig));
	event_base_loopbreak(a->base);
}

static void reload_cap(struct agent *a, struct agent_config *c, unsigned i)
{
	const struct agent_cap *cap = &a->caps[i];
	struct skep_err err = {0};

	if (!memcmp(agent_config_cap(c, i), agent_config_cap(a->config, i), cap->ops->spec_size))
		return;
	if (cap->cap && !cap->ops->apply(cap->cap, agent_config_cap(c, i), &err)) {
		log_info("%s: the new settings hold", cap->ops->name);
		return;
	}
	agent_config_keep_cap(c, a->config, i);
	log_warn("%s: the old settings stay until skep is restarted: %s", cap->ops->name,
		 err.text[0] ? err.text : "it did not load");
}

/* The whole file again; what needs privileges that are gone waits for a restart, and is told. */
static void on_reload(maybe_unused evutil_socket_t sig, maybe_unused short what, void *arg)
{
	struct agent_config *c = NULL;
	struct skep_err err = {0};
	struct agent *a = arg;
	unsigned i;

	if (agent_config_read(&c, &a->options, &err)) {
		log_error("the old configuration stays: %s", err.text);
		return;
	}
	if (agent_config_keep(c, a->config))
		log_warn("listen, socket, stateDir, sandbox and limits change at the next restart");
	for (i = 0; i < a->n_caps; i++)
		reload_cap(a, c, i);
	agent_config_free(a->config);
	a->config = c;
	a->stat.reloads++;
	log_init((enum log_format)agent_config_spec(c)->log, agent_config_level(c));
	log_info("configuration read again");
}

/* ---- start --------------------------------------------------------------------------------- */

static int config_start(struct agent *a, struct skep_err *err)
{
	int rc = agent_config_read(&a->config, &a->options, err);

	if (!rc)
		log_init((enum log_format)agent_config_spec(a->config)->log,
			 agent_config_level(a->config));
	return rc;
}

static void on_libevent(int severity, const char *text)
{
	log_line(severity >= EVENT_LOG_WARN ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "libevent: %s",
		 text);
}

static void files_raise(void)
{
	struct rlimit files;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int loop_start(struct agent *a, struct skep_err *err)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
	struct timeval second = {.tv_sec = 1};
	bool terminal = isatty(STDIN_FILENO); /* SIGHUP then says that it was closed */
	unsigned i;

	event_set_log_callback(on_libevent);
	signal(SIGPIPE, SIG_IGN);
	files_raise();
	a->base = event_base_new();
	if (!a->base)
		return skep_fail(err, -ENOMEM, "libevent has no event base");
	for (i = 0; i < array_size(numbers); i++) {
		a->signals[i] =
			evsignal_new(a->base, numbers[i],
				     numbers[i] == SIGHUP && !terminal ? on_reload : on_end, a);
		if (!a->signals[i] || event_add(a->signals[i], NULL))
			return -ENOMEM;
	}
	a->poll = evtimer_new(a->base, on_poll, a);
	a->tick = event_new(a->base, -1, EV_PERSIST, on_tick, a);
	if (!a->poll || !a->tick)
		return -ENOMEM;
	event_add(a->tick, &second);
	a->poll_ms = POLL_MS;
	poll_arm(a);
	return 0;
}

/* Only another agent is fatal: without a state folder this one forgets, but sees. */
static int state_start(struct agent *a, struct skep_err *err)
{
	const char *dir = agent_config_spec(a->config)->state_dir;
	int rc = start_lock(dir, &a->lock, err);

	if (rc == -EBUSY)
		return rc;
	err->text[0] = rc ? err->text[0] : '\0';
	if (!rc)
		rc = state_open(&a->state, dir, err);
	if (rc)
		log_warn("nothing is kept beyond this run: %s", err->text);
	else if (err->text[0])
		log_warn("%s", err->text);
	err->text[0] = '\0';
	return 0;
}

static void token_start(struct agent *a)
{
	cleanup(mem_free) char *json = NULL;
	struct skep_err err = {0};
	char quoted[AUTH_TOKEN_LEN + 3];

	if (a->state && !state_get(a->state, "Secret", "token", &json, &err) && json &&
	    strlen(json) == AUTH_TOKEN_LEN + 2) {
		snprintf(a->auth.token, sizeof(a->auth.token), "%.*s", AUTH_TOKEN_LEN, json + 1);
		if (auth_token_valid(a->auth.token))
			return;
	}
	if (auth_token_make(a->auth.token))
		abort(); /* a kernel without random numbers */
	snprintf(quoted, sizeof(quoted), "\"%s\"", a->auth.token);
	if (a->state && state_put(a->state, "Secret", "token", quoted, &err))
		log_warn("the token is new at each start: %s", err.text);
}

static int parts_start(struct agent *a, struct skep_err *err)
{
	const struct agent_limits *l = &agent_config_spec(a->config)->limits;
	int rc = host_open(&a->host, err);

	if (!rc)
		rc = who_open(&a->who, (unsigned)l->processes, err);
	if (!rc)
		rc = store_open(&a->store, err);
	if (!rc)
		rc = events_open(&a->events);
	if (!rc)
		rc = queries_open(&a->queries, a->base, a->store, (unsigned)l->queries,
				  (unsigned)l->query_seconds * 1000);
	return rc;
}

static int cap_start(struct agent *a, unsigned i, struct agent_cap *c)
{
	const struct cap_env env = {
		.host = a->host,
		.who = a->who,
		.store = a->store,
		.emit = events_emit,
		.emit_arg = a->events,
	};
	int rc = c->ops->open(&c->cap, &env, &c->why);

	if (!rc)
		rc = c->ops->apply(c->cap, agent_config_cap(a->config, i), &c->why);
	if (!rc)
		return 0;
	if (c->cap)
		c->ops->close(take(c->cap));
	if (!c->why.text[0])
		skep_fail(&c->why, rc, "%s", strerror(-rc));
	log_error("%s: %s", c->ops->name, c->why.text);
	return rc;
}

static void cap_watch(struct agent *a, struct agent_cap *c)
{
	int fd = c->ops->fd(c->cap);

	if (fd < 0)
		return;
	c->ready = event_new(a->base, fd, EV_READ | EV_PERSIST, on_ready, c);
	if (c->ready)
		event_add(c->ready, NULL);
}

/* One that cannot load is reported; only when none can is there nothing to run for. */
static int caps_start(struct agent *a, struct skep_err *err)
{
	int rc, first = 0;
	unsigned i, running = 0;

	for (i = 0; cap_all[i]; i++) {
		struct agent_cap *c = &a->caps[a->n_caps++];

		c->ops = cap_all[i];
		c->agent = a;
		rc = cap_start(a, i, c);
		running += !rc;
		first = first ? first : rc;
		if (!rc)
			cap_watch(a, c);
	}
	if (first && !running)
		return skep_fail(err, first, "%s: %.480s", a->caps[0].ops->name,
				 a->caps[0].why.text);
	events_bind(a->events, a->store);
	event_view_sql(a->store, &a->view);
	return a->view.len ? store_view(a->store, "event", a->view.data, err) : 0;
}

static int tcp_start(struct agent *a, struct skep_err *err)
{
	struct agent_addr addr;
	int fd, rc = agent_listen_parse(agent_config_spec(a->config)->listen, &addr, err);

	if (rc || addr.off)
		return rc;
	rc = start_tcp(&addr, &fd, err);
	if (rc)
		return rc;
	a->auth.port = addr.port;
	snprintf(a->listen, sizeof(a->listen), "%s:%u", addr.v6 ? "[::1]" : "127.0.0.1", addr.port);
	snprintf(a->url, sizeof(a->url), "http://%s/?token=%s", a->listen, a->auth.token);
	return http_listen(a->http, fd, false, err);
}

static int api_start(struct agent *a, struct skep_err *err)
{
	const struct http_ops ops = {api_admit, api_serve, a};
	int fd, rc = http_open(&a->http, a->base, &ops, NULL);

	if (!rc)
		rc = start_socket(agent_config_spec(a->config)->socket, &fd, err);
	a->socket_bound = !rc;
	if (!rc)
		rc = http_listen(a->http, fd, true, err);
	return rc ? rc : tcp_start(a, err);
}

static int sandbox_start(struct agent *a, struct skep_err *err)
{
	unsigned i;
	int rc;

	/* Trying features loads programs: now or never. */
	for (i = 0; i < HOST_FEATURE_COUNT; i++)
		host_has(a->host, (enum host_feature_id)i);
	malloc_trim(0); /* what loading took: the kernel's types, parsed, are megabytes */
	if (!agent_config_spec(a->config)->sandbox) {
		log_warn("sandbox: false: all privileges are kept");
		return 0;
	}
	rc = sandbox_drop(err);
	return rc ? rc : sandbox_filter(err);
}

/* ---- end ----------------------------------------------------------------------------------- */

static void events_end(struct agent *a)
{
	unsigned i;

	for (i = 0; i < a->n_caps; i++)
		if (a->caps[i].ready)
			event_free(a->caps[i].ready);
	for (i = 0; i < array_size(a->signals); i++)
		if (a->signals[i])
			event_free(a->signals[i]);
	if (a->poll)
		event_free(a->poll);
	if (a->tick)
		event_free(a->tick);
}

static void agent_done(struct agent *a)
{
	unsigned i;

	queries_free(a->queries);
	events_free(a->events);
	http_free(a->http);
	if (a->socket_bound)
		unlink(agent_config_spec(a->config)->socket);
	events_end(a);
	for (i = 0; i < a->n_caps; i++)
		if (a->caps[i].cap)
			a->caps[i].ops->close(a->caps[i].cap);
	store_free(a->store);
	buf_done(&a->view);
	who_free(a->who);
	host_free(a->host);
	state_free(a->state);
	if (a->base)
		event_base_free(a->base);
	agent_config_free(a->config);
	fd_close(&a->lock);
}

static int64_t wall_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

int agent_run(const struct agent_options *o, struct skep_err *err)
{
	cleanup(agent_done) struct agent a = {.options = *o, .lock = -1, .started = wall_now()};
	struct skep_err own = {0};
	int rc;

	err = err ? err : &own;
	log_init(o->log_json > 0 ? LOG_JSON : LOG_TEXT, LOG_LEVEL_INFO);
	rc = config_start(&a, err);
	if (!rc)
		rc = loop_start(&a, err);
	if (!rc)
		rc = state_start(&a, err);
	if (!rc)
		rc = parts_start(&a, err);
	if (!rc)
		rc = caps_start(&a, err);
	if (!rc) {
		resources_start(&a);
		token_start(&a);
		rc = api_start(&a, err);
	}
	if (!rc)
		rc = sandbox_start(&a, err);
	if (rc)
		return err->text[0] ? rc : skep_fail(err, rc, "%s", strerror(-rc));
	log_info("listening on %s", agent_config_spec(a.config)->socket);
	if (a.url[0])
		log_info("the page: %s", a.url);
	event_base_dispatch(a.base);
	return 0;
}
